"""What an action means: a step of the fingertips' target pose, or joint positions."""

from typing import Protocol

import mink
import numpy as np

from envs.kinematics import ArmKinematics
from vla.errors import choose

_BOX_LOW = np.array([0.28, -0.27, 0.012])
_BOX_HIGH = np.array([0.70, 0.27, 0.40])
_LEASH = 0.05
_TURN_LEASH = 0.3
MAX_JOINT_STEP = 0.3
"""Radians that a joint's target moves in one tick at most."""


class Drive(Protocol):
    """Turns actions into joint targets; its memory lasts one episode."""

    def start(self, pose: mink.SE3) -> np.ndarray:
        """Begin anew; joints (7,) in radians that put the fingertips at `pose`."""
        ...

    def plan(self, action: np.ndarray, measured: mink.SE3) -> np.ndarray:
        """Joint targets (7,) for `action` without its gripper, fingertips now at `measured`."""
        ...

    def still(self) -> np.ndarray:
        """The action, without its gripper, that changes nothing."""
        ...

    def express(self, delta: np.ndarray, measured: mink.SE3) -> np.ndarray:
        """The action, without its gripper, that does what `delta` (6,) asks; plans nothing."""
        ...


class DeltaDrive:
    """Actions (6,) move a target pose, which inverse kinematics follows.

    Deltas add to the target, not to the measured pose, so that small ones are not lost to the
    servos' lag; the target is kept within 5 cm and 0.3 rad of the measured pose (it cannot wind up
    against an obstacle) and inside the workspace.
    """

    def __init__(self, kinematics: ArmKinematics):
        self._kinematics = kinematics
        self._target = mink.SE3.identity()

    def start(self, pose: mink.SE3) -> np.ndarray:
        """See Drive."""
        self._target = pose
        return self._kinematics.reset(pose)

    def plan(self, action: np.ndarray, measured: mink.SE3) -> np.ndarray:
        """See Drive."""
        self._target = move_target(self._target, action, measured)
        return self._kinematics.follow(self._target)

    def still(self) -> np.ndarray:
        """See Drive."""
        return np.zeros(6)

    def express(self, delta: np.ndarray, measured: mink.SE3) -> np.ndarray:
        """See Drive."""
        return delta


class JointDrive:
    """Actions (7,) are joint targets in radians, approached by 0.3 rad per tick at most."""

    def __init__(self, kinematics: ArmKinematics):
        self._kinematics = kinematics
        self._last = np.zeros(7)

    def start(self, pose: mink.SE3) -> np.ndarray:
        """See Drive."""
        self._last = self._kinematics.reset(pose)
        return self._last

    def plan(self, action: np.ndarray, measured: mink.SE3) -> np.ndarray:
        """See Drive."""
        step = np.clip(action - self._last, -MAX_JOINT_STEP, MAX_JOINT_STEP)
        self._last = self._last + step
        return self._last

    def still(self) -> np.ndarray:
        """See Drive."""
        return self._last

    def express(self, delta: np.ndarray, measured: mink.SE3) -> np.ndarray:
        """See Drive."""
        target = self._kinematics.forward(self._last)
        return self._kinematics.follow(move_target(target, delta, measured))


def move_target(target: mink.SE3, delta: np.ndarray, measured: mink.SE3) -> mink.SE3:
    """`target` moved by `delta` (6,), on its leash from `measured` and inside the workspace."""
    move = target.translation() + delta[:3]
    position = measured.translation() + np.clip(move - measured.translation(), -_LEASH, _LEASH)
    turned = mink.SO3.exp(delta[3:6]) @ target.rotation()
    lead = (turned @ measured.rotation().inverse()).log()
    angle = np.linalg.norm(lead)
    if angle > _TURN_LEASH:
        turned = mink.SO3.exp(lead * (_TURN_LEASH / angle)) @ measured.rotation()
    return mink.SE3.from_rotation_and_translation(turned, np.clip(position, _BOX_LOW, _BOX_HIGH))


def build_drive(name: str, kinematics: ArmKinematics) -> Drive:
    """The drive of that name. Raises UnknownChoice on another than "delta" and "joint"."""
    return choose("action", name, {"delta": DeltaDrive, "joint": JointDrive})(kinematics)
