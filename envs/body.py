"""The tabletop arm as data, policies and robots see it; needs neither MuJoCo nor a GL."""

from collections.abc import Sequence

import numpy as np

from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import choose

GL_REMEDY = (
    "Install a software GL (Debian: apt-get install libegl1 libgl1-mesa-dri libgles2; for OSMesa "
    "libosmesa6) and set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts."
)

HZ = 20.0
MAX_MOVE = 0.025
"""Metres per tick and axis."""
MAX_TURN = 0.15
"""Radians per tick and axis."""

JOINT_LIMITS = (
    (-2.8973, 2.8973),
    (-1.7628, 1.7628),
    (-2.8973, 2.8973),
    (-3.0718, -0.0698),
    (-2.8973, 2.8973),
    (-0.0175, 3.7525),
    (-2.8973, 2.8973),
)
"""Radians, joint1 to joint7 (Franka Control Interface documentation)."""


CAMERAS = ("front", "wrist")
"""What is seen by default; "side" can be had as well."""
ALL_CAMERAS = ("front", "wrist", "side")
ARMS = {"primitive": "tabletop_arm", "panda": "tabletop_panda"}
"""Names of the arms, and of the embodiments they make."""
ACTIONS = ("delta", "joint")


def tabletop_embodiment(
    *,
    image_size: int,
    quality: str,
    cameras: Sequence[str] = CAMERAS,
    arm: str = "primitive",
    action: str = "delta",
) -> Embodiment:
    """The axes, rate and cameras of the tabletop arm with square pictures of `image_size`.

    The arms have the same joints and axes; another name keeps their data apart.
    """
    grip = Axis(name="gripper", unit="1", low=0.0, high=1.0, frame="joint")
    joints = tuple(
        Axis(name=f"joint{i + 1}", unit="rad", low=low, high=high, frame="joint")
        for i, (low, high) in enumerate(JOINT_LIMITS)
    )
    state = (
        *joints,
        *(Axis(name=name, unit="m", low=-1.0, high=1.0) for name in ("x", "y", "z")),
        *(Axis(name=name, unit="rad", low=-np.pi, high=np.pi) for name in ("rx", "ry", "rz")),
        grip,
    )
    camera = {"height": image_size, "width": image_size, "source": f"mujoco:{quality}"}
    mounts = {"wrist": {"mount": "hand"}}
    return Embodiment(
        name=choose("arm", arm, ARMS),
        state=state,
        action=(*(joints if action == "joint" else _delta_axes()), grip),
        cameras={name: Camera(**camera, **mounts.get(name, {})) for name in cameras},
        hz=HZ,
        rotation="rotvec",
        gripper="open_is_one",
    )


def _delta_axes() -> tuple[Axis, ...]:
    move = {"unit": "m", "low": -MAX_MOVE, "high": MAX_MOVE, "mode": "delta"}
    turn = {"unit": "rad", "low": -MAX_TURN, "high": MAX_TURN, "mode": "delta"}
    return (
        *(Axis(name=name, **move) for name in ("dx", "dy", "dz")),
        *(Axis(name=name, **turn) for name in ("drx", "dry", "drz")),
    )
