"""What is done to the numbers: pure functions over one episode, rows are steps.

Grippers come out absolute, 1 open and 0 closed. What the public code bases do (OpenVLA
`prismatic/vla/datasets/rlds/utils/data_utils.py`, Octo `octo/data/utils/data_utils.py`) is
followed where not said otherwise.
"""

import numpy as np
from numpy.typing import NDArray

from vla.errors import DataError
from vla.types import Float32

ARM, ANGLES, GRIPPER = slice(0, 6), slice(3, 6), 6
"""Places in a seven-axis action: translation and rotation, the latter alone, gripper."""

MOVES = 0.1
"""Below this a relative gripper command means "stay"."""


def keep_open(values: Float32) -> Float32:
    """Clip an opening to 0..1. Values (N, K), 1 open."""
    return np.clip(values, 0, 1)


def invert_closed(values: Float32) -> Float32:
    """An opening from how closed the gripper is. Values (N, K), 1 closed, 0 or -1 open."""
    return 1 - np.clip(values, 0, 1)


def absolutize_closing(values: Float32) -> Float32:
    """An absolute opening from relative commands.

    Args:
        values: (N, K); above 0.1 close, below -0.1 open, between stay.

    Returns:
        (N, K) of 0 and 1. Before its first command a gripper was where that command does not
        lead; one that never moves counts as open.
    """
    commands = np.where(values > MOVES, 0.0, np.where(values < -MOVES, 1.0, np.nan))
    known = ~np.isnan(commands)
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    first = commands[known.argmax(axis=0), np.arange(values.shape[1])]
    before = np.where(known.any(axis=0), 1 - first, 1)
    held = np.take_along_axis(commands, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, held, before).astype(np.float32)


def binarize_open(values: Float32) -> Float32:
    """0 or 1 from a continuous opening: steps under way take the state that they reach.

    Args:
        values: (N, K); above 0.95 open, below 0.05 closed.

    Returns:
        (N, K) of 0 and 1. Steps under way at the end reach nothing and are rounded by their
        last value (the public code keeps that value itself, which is no binary command).
    """
    states = np.where(values > 0.95, 1.0, np.where(values < 0.05, 0.0, np.nan))
    states[-1] = np.where(np.isnan(states[-1]), values[-1] >= 0.5, states[-1])
    rows = np.arange(len(values))[:, None]
    behind = np.where(np.isnan(states), len(values), rows)
    reached = np.minimum.accumulate(behind[::-1], axis=0)[::-1]
    return np.take_along_axis(states, reached, axis=0).astype(np.float32)


def wrap_angle(angle: NDArray[np.floating]) -> NDArray[np.floating]:
    """The same angle in [-pi, pi], radians. A step across +-pi becomes the short way round."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def convert_quaternion(values: Float32) -> Float32:
    """Roll, pitch, yaw (N, 3) in radians, about fixed axes, from quaternions xyzw (N, 4).

    Raises:
        DataError: for a quaternion of length 0.
    """
    from scipy.spatial.transform import Rotation

    try:
        return Rotation.from_quat(values).as_euler("xyz").astype(np.float32)
    except ValueError as error:
        raise DataError(f"A rotation is not a quaternion: {error}.") from error


def scale_to_metres(values: Float32) -> Float32:
    """Metres from millimetres."""
    return values / np.float32(1000)


def scale_to_radians(values: Float32) -> Float32:
    """Radians from degrees."""
    return np.radians(values, dtype=np.float32)


def relabel_reached(state: Float32, action: Float32) -> tuple[Float32, Float32, slice]:
    """Bridge's actions anew, from the poses that were reached.

    The first step (its action is about 0 by the data's construction) and the last one (it
    reaches nothing) go. Reached steps are about a fifth smaller than the commanded ones: the
    controller lags. Unlike the public code, angles are wrapped: a crossing of +-pi is a small
    step, not one of 2 pi.

    Args:
        state: (N, S), pose in its first six axes.
        action: (N, 7), the gripper command last.

    Returns:
        state (N - 2, S), action (N - 2, 7), and which of the N steps these are.

    Raises:
        DataError: when fewer than three steps leave nothing.
    """
    if len(state) < 3:
        raise DataError(f"has {len(state)} steps; relabelling needs at least 3")
    rows = slice(1, len(state) - 1)
    steps = state[2:, ARM] - state[1:-1, ARM]
    steps[:, ANGLES] = wrap_angle(steps[:, ANGLES])
    return state[rows], np.concatenate([steps, action[rows, 6:]], axis=1), rows


def find_idle(action: Float32, threshold: float = 1e-4) -> NDArray[np.bool_]:
    """Which steps command nothing: near-zero motion AND an unchanged gripper.

    A still arm that opens or closes its gripper is at work; leaving such steps out loses the
    grasp (OpenVLA experiments/robot/libero/regenerate_libero_dataset.py).

    Args:
        action: (N, 7), six deltas and an absolute gripper command.
        threshold: length of the six deltas below which they are no motion.

    Returns:
        (N,); the first step is idle by its motion alone.
    """
    still = np.linalg.norm(action[:, ARM], axis=1) < threshold
    gripper = action[:, GRIPPER]
    same = np.concatenate([[True], gripper[1:] == gripper[:-1]])
    return still & same
