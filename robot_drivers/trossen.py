"""Trossen WidowX AI through the trossen-arm wheel, behind `ServoArm`.

Written against its documentation and Trossen's public examples, and tested with a stand-in
module: IT HAS NOT TOUCHED AN ARM. The controller interpolates to each target within
`goal_time`; a target that it cannot reach in that time is its error 16.
"""

import time
from typing import Any

import numpy as np

from robot_drivers.servo_link import Float64, Sample, require_finite
from vla.errors import ArmSilent, ArmStopped

OPEN = 0.04
"""Metres between closed and open finger; the documentation's examples use 0.035 to 0.04."""
TIMEOUT = 5.0
JOINTS = 6
GRIP_CHANGE = 0.01


class TrossenLink:
    """Implements `ServoLink`."""

    def __init__(self, host: str, *, model: str, end_effector: str, tool: bool, goal_time: float):
        """Nothing is opened.

        Args:
            host: address of the arm's controller.
            model: name in trossen_arm.Model.
            end_effector: name in trossen_arm.StandardEndEffector.
            tool: targets are tool poses, not joints.
            goal_time: seconds that the controller takes for one small step.
        """
        self._host, self._model, self._end_effector = host, model, end_effector
        self._tool, self._goal_time = tool, goal_time
        self._api: Any = None
        self._driver: Any = None
        self._grip_sent = -1.0

    def open(self) -> None:
        """Connect without clearing errors, position mode; the motors hold from here on."""
        self._driver = self._configure(clear_error=False)
        self._call("entering position mode", self._enter_position_mode)

    def sense(self) -> Sample:
        """Joints, pose (angle-axis, as the arm tells it) and gripper."""
        positions = self._call("telling its joints", self._driver.get_all_positions)
        pose = self._call("telling its pose", self._driver.get_cartesian_positions)
        return Sample(
            joints=np.array(positions[:JOINTS], np.float64),
            pose=np.array(pose, np.float64),
            stamp=time.monotonic(),  # a state that could be read is fresh; else it raised
            grip=float(np.clip(positions[JOINTS] / OPEN, 0.0, 1.0)),
        )

    def servo(self, target: Float64, grip: float | None) -> None:
        """One small step, not waiting for it."""
        values = require_finite(target, "Trossen target").tolist()
        if self._tool:
            space = self._api.InterpolationSpace.cartesian
            self._call(
                "moving",
                lambda: self._driver.set_cartesian_positions(values, space, self._goal_time, False),
            )
        else:
            self._call(
                "moving", lambda: self._driver.set_arm_positions(values, self._goal_time, False)
            )
        if grip is not None and abs(grip - self._grip_sent) >= GRIP_CHANGE:
            width = grip * OPEN
            self._call("gripping", lambda: self._driver.set_gripper_position(width, 0.1, False))
            self._grip_sent = grip

    def stop(self) -> None:
        """Hold the measured joints (stop category 2)."""
        if self._driver is None:
            return
        here = self._call("telling its joints", self._driver.get_all_positions)
        joints = require_finite(np.array(here[:JOINTS], np.float64), "Trossen hold").tolist()
        self._call("stopping", lambda: self._driver.set_arm_positions(joints, 0.1, False))

    def close(self) -> None:
        """Let go of the driver. Its destructor goes to idle, where the joints are braked."""
        self._driver = None

    def recover(self) -> None:
        """Clear the arm's error."""
        self._configure(clear_error=True)

    def release(self) -> None:
        """Idle mode."""
        driver = self._configure(clear_error=False)
        self._call("going idle", lambda: driver.set_all_modes(self._api.Mode.idle))

    def _configure(self, *, clear_error: bool) -> Any:
        import trossen_arm

        self._api = trossen_arm
        driver = trossen_arm.TrossenArmDriver()
        model = getattr(trossen_arm.Model, self._model)
        effector = getattr(trossen_arm.StandardEndEffector, self._end_effector)
        try:
            driver.configure(model, effector, self._host, clear_error, TIMEOUT)
        except RuntimeError as error:
            raise ArmSilent(
                f"No Trossen arm at {self._host}: {error}. Check power, network and firmware."
            ) from error
        return driver

    def _enter_position_mode(self) -> None:
        self._driver.set_all_modes(self._api.Mode.position)

    def _call(self, what: str, call: Any) -> Any:
        """The driver's exceptions as ours; it does not tell a lost arm from a stopped one."""
        try:
            return call()
        except RuntimeError as error:
            raise ArmStopped(
                f"The Trossen arm at {self._host} failed {what}: {error}. Clear the cause, then "
                "ServoArm.recover()."
            ) from error
