"""The conventions of LIBERO that turned published numbers over, each a plain function or constant.

Collected by allenai/vla-evaluation-harness (docs of v0.4): folding the quaternion alone moved
OpenVLA-OFT from 97 to 83 % on Goal; a wrong sign of the gripper gives 0 %.
"""

import numpy as np

from vla.types import Float32, Uint8

SETTLE_STEPS = 10
"""Ticks of `SETTLE_ACTION` after a reset, in which objects fall into place; they do not count."""
SETTLE_ACTION = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)
"""No motion, gripper open."""

OPEN, CLOSE = -1.0, 1.0
"""LIBERO's gripper command: positive closes (CALVIN and SIMPLER's WidowX: positive opens)."""


def turn_upright(picture: Uint8) -> Uint8:
    """`picture` (H, W, 3) turned by 180 degrees, contiguous.

    robosuite reads OpenGL's frame bottom row first; public data sets turn it, which is not the
    mirror image along one axis.
    """
    return np.ascontiguousarray(picture[::-1, ::-1])


def to_rotation_vector(quaternion: np.ndarray) -> np.ndarray:
    """Rotation vector (3,), radians, of a quaternion (4,) in robosuite's order x, y, z, w.

    Not folded: with w < 0 the angle lies in (pi, 2 pi], as robosuite's own conversion has it and as
    proprioception in the training data is. SciPy and most libraries give the shorter turn.
    """
    quaternion = np.asarray(quaternion, np.float64)
    w = np.clip(quaternion[3], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)
    if np.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[:3] * (2.0 * np.arccos(w) / sine)


def assemble_state(position: np.ndarray, quaternion: np.ndarray, fingers: np.ndarray) -> Float32:
    """The eight numbers of public checkpoints: place (3,), rotation vector (3,), fingers (2,).

    The orientation is that of robot0_eef_quat; the controller's own differs by about 90 degrees.
    """
    parts = (position, to_rotation_vector(quaternion), fingers)
    return np.concatenate(parts, dtype=np.float32, casting="same_kind")
