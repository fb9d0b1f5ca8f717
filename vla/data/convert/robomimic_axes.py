"""Names for robosuite's numbers: observations and OSC_POSE actions, the gripper, no-ops."""

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vla.data.convert.arrays import choose_axes, named_axes
from vla.embodiment import Axis
from vla.errors import DataError
from vla.types import Float32

ARM = 7
"""Numbers in one arm's action; two arms have twice as many."""
NOOP = 1e-4
"""Below this norm of the motion part a step does nothing (openvla, regenerate_libero_dataset)."""
FULL = 2 * np.pi
WXYZ = [3, 0, 1, 2]
"""Columns of robosuite's quaternion (x, y, z, w) in the order of ours."""

_POSITION = named_axes("x y z", unit="m", low=-5, high=5)
_ROTATION = named_axes("rx ry rz", unit="rad", low=-FULL, high=FULL)
_FINGERS = named_axes("finger_left finger_right", unit="m", low=-0.2, high=0.2, frame="joint")
_JOINTS = named_axes(
    " ".join(f"joint{n}" for n in range(1, 8)), unit="rad", low=-FULL, high=FULL, frame="joint"
)
STATES: dict[str, tuple[Axis, ...]] = {
    "eef_pos": _POSITION,
    "eef_quat": named_axes("qw qx qy qz", unit="1", low=-1.01, high=1.01),
    "gripper_qpos": _FINGERS,
    "joint_pos": _JOINTS,
    "ee_pos": _POSITION,
    "ee_ori": _ROTATION,
    "ee_states": _POSITION + _ROTATION,
    "gripper_states": _FINGERS,
    "joint_states": _JOINTS,
}
"""Axes of the known observation keys, without robosuite's prefix "robot<n>_"."""


def state_axes(keys: list[str]) -> tuple[Axis, ...]:
    """The axes of observation keys; those of a second robot are called robot1_<name>.

    Raises:
        UnknownChoice: for a key that is not in `STATES`.
    """
    axes: list[Axis] = []
    for key in keys:
        found = re.match(r"robot\d+_", key)
        robot = found[0] if found else ""
        named = choose_axes([key.removeprefix(robot)], STATES)
        axes += _prefixed(named, "" if robot == "robot0_" else robot)
    return tuple(axes)


def action_axes(width: int, mode: str, *, gripper: str) -> tuple[Axis, ...]:
    """Axes of an action of `width` numbers: 7 per arm.

    Args:
        width: 7 or 14.
        mode: "delta" (controller inputs) or "absolute" (poses, in metres and radians).
        gripper: "open_is_one" after turning, "none" as robosuite has it.

    Raises:
        DataError: when `width` is no multiple of 7.
    """
    if width == 0 or width % ARM:
        raise DataError(f"actions have {width} numbers; 7 per arm (OSC_POSE) are understood.")
    if mode == "delta":
        motion = named_axes("dx dy dz drx dry drz", unit="1", low=-1, high=1, mode="delta")
    else:
        motion = _POSITION + _ROTATION
    low = 0.0 if gripper == "open_is_one" else -1.0
    arm = (*motion, *named_axes("gripper", unit="1", low=low, high=1.0))
    arms = range(width // ARM)
    return tuple(axis for n in arms for axis in _prefixed(arm, f"robot{n}_" if n else ""))


def _prefixed(axes: tuple[Axis, ...], prefix: str) -> list[Axis]:
    return [replace(axis, name=prefix + axis.name) for axis in axes]


def open_is_one(action: Float32) -> Float32:
    """The gripper of robosuite, -1 open to +1 closed, as 1 open to 0 closed; undone by 1 - 2 g."""
    turned = action.copy()
    turned[:, ARM - 1 :: ARM] = (1 - np.clip(action[:, ARM - 1 :: ARM], -1, 1)) / 2
    return turned


def find_moves(action: Float32) -> NDArray[np.bool_]:
    """Which steps move the arm, or change the gripper against the last step kept: bool (N,).

    Both must be still for a no-op: a filter on motion alone would delete the grasps.
    """
    is_gripper = np.arange(action.shape[1]) % ARM == ARM - 1
    moving = np.linalg.norm(action[:, ~is_gripper], axis=1) >= NOOP
    keep, last = np.zeros(len(action), bool), None
    for step, grip in enumerate(action[:, is_gripper]):
        keep[step] = moving[step] or (last is not None and not np.array_equal(grip, last))
        last = grip if keep[step] else last
    return keep
