"""UFACTORY xArm 5, 6, 7 and Lite 6 through xarm-python-sdk, behind `ServoArm`.

Servo mode (mode 1); joints come from the real-time report port, so reading never waits.
Two traits of the SDK shape this file: it lets NaN through its range check, and a frozen
controller holds a call up for 2 s by default (here `TIMEOUT`, in the I/O thread).
An error is `ArmStopped` and is cleared only by `ServoArm.recover`.
"""

import contextlib
import io
import time
import warnings
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from robot_drivers.servo_link import Float64, Sample, require_finite
from vla.errors import ArmSilent, ArmStopped, RobotError

TIMEOUT = 0.1
GRIPPER_OPEN = 850.0
GRIP_CHANGE = 0.01
GRIP_PERIOD = 0.2
MM = 1000.0
ERROR, TIMED_OUT, NOT_CONNECTED, NOT_READY = 1, 3, -1, 9
SERVO_MODE, READY, STOP = 1, 0, 4


class XArmLink:
    """Implements `ServoLink`."""

    def __init__(self, host: str, *, joints: int, tool: bool, gripper: bool):
        """Nothing is opened.

        Args:
            host: address of the control box.
            joints: 5, 6 or 7.
            tool: targets are tool poses, not joints.
            gripper: the xArm gripper on the tool's line.
        """
        self._host, self._joints, self._tool, self._has_gripper = host, joints, tool, gripper
        self._api: Any = None
        self._report: tuple[list[float], list[float]] | None = None
        self._count = 0
        self._stopped = False
        self._grip: float | None = 1.0 if gripper else None
        self._grip_sent, self._grip_time = -1.0, 0.0

    def open(self) -> None:
        """Connect, check for errors, enter servo mode. Brakes release; the arm holds."""
        api = self._connect()
        code, (error, _) = api.get_err_warn_code()
        self._check(code, "telling its errors")
        if error:
            raise self._stopped_by(error)
        if api.axis != self._joints:
            raise RobotError(
                f"The xArm at {self._host} has {api.axis} joints; set robot.joints={api.axis}."
            )
        self._check(api.motion_enable(True), "enabling")
        self._enter_servo_mode()
        if self._has_gripper:
            self._check(api.set_gripper_enable(True), "enabling the gripper")
            self._check(api.set_gripper_mode(0), "the gripper's mode")
            self._read_grip()
        end = time.monotonic() + 1.0  # until it reports, and not the stop it was in before
        while (self._report is None or api.state >= STOP) and time.monotonic() < end:
            time.sleep(0.005)

    def sense(self) -> Sample:
        """What the newest report said. Raises ArmSilent, ArmStopped."""
        if not self._api.connected:
            raise ArmSilent(f"The connection to the xArm at {self._host} is gone.")
        if self._report is None:
            raise ArmSilent(f"The xArm at {self._host} sends no reports (port 30003).")
        if self._api.state >= STOP and not self._stopped:
            code, (error, _) = self._api.get_err_warn_code()
            self._check(code, "telling its errors")
            raise self._stopped_by(error)
        if self._has_gripper and time.monotonic() - self._grip_time > GRIP_PERIOD:
            self._read_grip()
        joints, pose = self._report
        turn = Rotation.from_euler("xyz", pose[3:]).as_rotvec()
        return Sample(
            joints=np.array(joints[: self._joints]),
            pose=np.concatenate([np.array(pose[:3]) / MM, turn]),
            stamp=self._count,
            grip=self._grip,
        )

    def servo(self, target: Float64, grip: float | None) -> None:
        """One step of servo mode, and the gripper when it changes."""
        require_finite(target, "xArm target")
        if self._stopped:
            self._enter_servo_mode()
        if self._tool:
            pose = [*(target[:3] * MM), *target[3:]]
            code = self._api.set_servo_cartesian_aa(pose, is_radian=True)
        else:
            code = self._api.set_servo_angle_j(target.tolist(), is_radian=True)
        self._check(code, "servoing")
        changed = grip is not None and abs(grip - self._grip_sent) >= GRIP_CHANGE
        if self._has_gripper and changed:
            pulse = round(grip * GRIPPER_OPEN)
            self._check(self._api.set_gripper_position(pulse, wait=False), "gripping")
            self._grip_sent = grip

    def stop(self) -> None:
        """State 4: the controller decelerates and holds (stop category 2)."""
        if self._api is not None and not self._stopped:
            self._check(self._api.set_state(STOP), "stopping")
            self._stopped = True

    def close(self) -> None:
        """Disconnect; the arm holds, motors on."""
        if self._api is not None:
            self._api.disconnect()

    def recover(self) -> None:
        """For an operator who has looked: clear the error. Then connect again."""
        api = self._connect()
        self._check(api.clean_error(), "clearing its error")
        api.disconnect()

    def release(self) -> None:
        """For an operator: motors off; the brakes engage."""
        with contextlib.redirect_stdout(io.StringIO()):
            api = self._connect()
            self._check(api.motion_enable(False), "disabling")
            api.disconnect()

    def _connect(self) -> Any:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # the SDK's sources hold bad escapes, and it prints
            from xarm.wrapper import XArmAPI

            try:
                self._api = XArmAPI(
                    self._host, is_radian=True, do_not_open=True, report_type="real"
                )
                self._api.connect()
            except Exception as error:
                raise ArmSilent(
                    f"No xArm at {self._host}: {error}. Check power and network."
                ) from error
        self._api.set_timeout(TIMEOUT)
        self._api.register_report_location_callback(self._note, True, True)
        return self._api

    def _note(self, report: dict[str, list[float]]) -> None:
        """In the SDK's report thread."""
        self._report = (report["joints"], report["cartesian"])
        self._count += 1

    def _enter_servo_mode(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._check(self._api.set_mode(SERVO_MODE), "servo mode")
            self._check(self._api.set_state(READY), "getting ready")
        self._stopped = False

    def _read_grip(self) -> None:
        code, pulse = self._api.get_gripper_position()
        self._check(code, "telling the gripper's position")
        self._grip, self._grip_time = float(np.clip(pulse / GRIPPER_OPEN, 0, 1)), time.monotonic()

    def _check(self, code: int, what: str) -> None:
        """Raise unless an SDK call's return code is 0."""
        if code in (0, 2):  # 2: done, with a warning pending
            return
        if code in (TIMED_OUT, NOT_CONNECTED):
            raise ArmSilent(f"The xArm at {self._host} does not answer ({what}, code {code}).")
        if code in (ERROR, NOT_READY):
            _, (error, _) = self._api.get_err_warn_code()
            raise self._stopped_by(error)
        raise RobotError(f"The xArm at {self._host} failed {what}: SDK code {code}.")

    def _stopped_by(self, error: int) -> ArmStopped:
        why = f"error {error}" if error else "no error code (stopped from elsewhere)"
        return ArmStopped(
            f"The xArm at {self._host} has stopped: {why}; see UFACTORY's error list. Clear the "
            "cause, then ServoArm.recover()."
        )
