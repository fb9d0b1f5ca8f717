"""Franka Research 3 and Panda through franky, behind `ServoArm`.

Written against franky's documentation (Robot, JointMotion, CartesianMotion, Affine, Gripper)
and tested with a stand-in module: IT HAS NOT TOUCHED AN ARM. franky plans each target anew
with Ruckig at 1 kHz below Python, so commands go straight through, one per tick; the arm's
own reflexes stop it on contact, which is `ArmStopped` here.
"""

import time
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from robot_drivers.servo_link import Float64, Sample, require_finite
from vla.errors import ArmSilent, ArmStopped, RobotError

LOST = ("NetworkException", "ProtocolException", "IncompatibleVersionException")
REFUSED = (
    "ControlException",
    "CommandException",
    "InvalidOperationException",
    "InvalidMotionTypeException",
    "RealtimeException",
)
GRIP_SPEED = 0.1
GRIP_CHANGE = 0.02
GRIP_PERIOD = 0.2


class FrankaLink:
    """Implements `ServoLink`."""

    def __init__(self, host: str, *, tool: bool, gripper: bool, dynamics: float):
        """Nothing is opened.

        Args:
            host: address of the control box, with FCI active.
            tool: targets are tool poses, not joints.
            gripper: the Franka hand.
            dynamics: share of the speed, acceleration and jerk limits, up to 1.
        """
        self._host, self._tool, self._has_gripper = host, tool, gripper
        self._dynamics = dynamics
        self._franky: Any = None
        self._robot: Any = None
        self._gripper: Any = None
        self._grip: float | None = None
        self._grip_sent, self._grip_time = -1.0, 0.0
        self._last: Float64 | None = None

    def open(self) -> None:
        """Connect and slow the arm down; errors are not cleared."""
        import franky

        self._franky = franky
        self._call("connecting", self._connect)
        if self._robot.has_errors:
            raise self._stopped()

    def sense(self) -> Sample:
        """One robot state. Raises ArmSilent, ArmStopped."""
        if self._call("telling its state", lambda: self._robot.has_errors):
            raise self._stopped()
        state = self._call("telling its state", lambda: self._robot.state)
        pose = state.O_T_EE
        turn = Rotation.from_quat(np.asarray(pose.quaternion)).as_rotvec()
        return Sample(
            joints=np.array(state.q, np.float64),
            pose=np.concatenate([np.array(pose.translation, np.float64), turn]),
            stamp=time.monotonic(),  # a state that could be read is fresh; else it raised
            grip=self._sense_grip(),
        )

    def servo(self, target: Float64, grip: float | None) -> None:
        """Replan towards `target`; nothing is sent while it stays the same."""
        require_finite(target, "Franka target")
        if self._last is None or not np.array_equal(target, self._last):
            motion = self._motion(target)
            self._call("moving", lambda: self._robot.move(motion, asynchronous=True))
            self._last = target.copy()
        changed = grip is not None and abs(grip - self._grip_sent) >= GRIP_CHANGE
        if self._gripper is not None and changed:
            width = grip * self._gripper.max_width
            self._call("gripping", lambda: self._gripper.move_async(width, GRIP_SPEED))
            self._grip_sent = grip

    def stop(self) -> None:
        """Decelerate within the arm's limits and hold (stop category 2)."""
        if self._robot is None or self._last is None:
            return  # never moved
        kind = self._franky.CartesianStopMotion if self._tool else self._franky.JointStopMotion
        self._call("stopping", lambda: self._robot.move(kind(), asynchronous=True))
        self._last = None

    def close(self) -> None:
        """Franky disconnects with its objects; the controller then holds."""
        self._robot = self._gripper = None

    def recover(self) -> None:
        """Clear errors (franky's recover_from_errors)."""
        import franky

        self._franky = franky
        robot = self._call("connecting", lambda: franky.Robot(self._host))
        self._call("recovering", robot.recover_from_errors)

    def release(self) -> None:
        """Franky has no call for it."""
        raise RobotError("Lock the Franka's brakes in Desk; franky cannot.")

    def _connect(self) -> None:
        self._robot = self._franky.Robot(self._host)
        self._robot.relative_dynamics_factor = self._dynamics
        if self._has_gripper:
            self._gripper = self._franky.Gripper(self._host)

    def _motion(self, target: Float64) -> Any:
        if not self._tool:
            return self._franky.JointMotion(target.tolist())
        turn = Rotation.from_rotvec(target[3:]).as_quat()
        return self._franky.CartesianMotion(self._franky.Affine(target[:3].tolist(), turn.tolist()))

    def _sense_grip(self) -> float | None:
        if self._gripper is not None and time.monotonic() - self._grip_time > GRIP_PERIOD:
            width = self._call("telling the gripper's width", lambda: self._gripper.width)
            self._grip = float(np.clip(width / self._gripper.max_width, 0.0, 1.0))
            self._grip_time = time.monotonic()
        return self._grip

    def _call(self, what: str, call: Any) -> Any:
        """Franky's exceptions as ours."""
        lost = tuple(getattr(self._franky, n) for n in LOST if hasattr(self._franky, n))
        refused = tuple(getattr(self._franky, n) for n in REFUSED if hasattr(self._franky, n))
        try:
            return call()
        except lost as error:
            raise ArmSilent(
                f"The Franka at {self._host} is lost ({what}): {error}. Check the network, that "
                "FCI is active, and that libfranka fits the arm's firmware."
            ) from error
        except refused as error:
            raise ArmStopped(
                f"The Franka at {self._host} stopped ({what}): {error}. Clear the cause, then "
                "ServoArm.recover()."
            ) from error

    def _stopped(self) -> ArmStopped:
        return ArmStopped(
            f"The Franka at {self._host} has errors (a reflex, or the user stop). Clear the "
            "cause, then ServoArm.recover()."
        )
