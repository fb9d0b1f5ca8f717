"""Universal Robots arms through the ur_rtde wheel, behind `ServoArm`.

servoJ and servoL at the servo rate; the controller's own watchdog stops the program when
input packets stop coming (a killed process, a pulled cable). A protective stop is
`ArmStopped`; recovery is an operator's call, `ServoArm.recover`, never the loop's.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from robot_drivers.robotiq import RobotiqGripper
from robot_drivers.servo_link import Float64, Sample, require_finite
from vla.errors import ArmSilent, ArmStopped, RobotError

PROGRAM_RUNS = 2
"""Bit of the robot status: the uploaded program is running."""
LOOKAHEAD, GAIN = 0.1, 300.0
DECELERATION = 5.0
"""Of servoStop, m/s^2 (servoJ: rad/s^2)."""
GRIP_PERIOD = 0.1
FROZEN = 0.06
REASON = 0.03


class UrLink:
    """Implements `ServoLink`."""

    def __init__(
        self, host: str, *, servo_hz: float, tool: bool, watchdog_hz: float, gripper: bool
    ):
        """Nothing is opened.

        Args:
            host: address of the controller.
            servo_hz: RTDE rate, at most 500 (125 on a CB3).
            tool: targets are tool poses (servoL), not joints (servoJ).
            watchdog_hz: the controller stops its program when inputs come slower than this.
            gripper: a Robotiq gripper with its URCap on port 63352.
        """
        self._host, self._hz, self._tool = host, servo_hz, tool
        self._watchdog_hz = watchdog_hz
        self._receive = self._control = None
        self._gripper = RobotiqGripper(host) if gripper else None
        self._grip: float | None = None
        self._grip_time = 0.0
        self._kick_due = False
        self._stamp, self._fresh = -1.0, 0.0

    def open(self) -> None:
        """Connect, upload ur_rtde's script, arm the watchdog."""
        import rtde_control
        import rtde_receive

        try:
            self._receive = rtde_receive.RTDEReceiveInterface(self._host, self._hz)
            self._raise_if_stopped()
            self._control = rtde_control.RTDEControlInterface(self._host, self._hz)
            armed = self._control.setWatchdog(self._watchdog_hz)
        except RuntimeError as error:
            raise ArmSilent(
                f"No UR controller at {self._host}: {error}. Check power, network, and that the "
                "arm is in remote control."
            ) from error
        if not armed:
            raise RobotError(f"The UR at {self._host} did not arm its watchdog; not moving it.")
        if self._gripper is not None:
            self._gripper.open()

    def sense(self) -> Sample:
        """Joints, tool pose and gripper. Raises ArmSilent, ArmStopped."""
        if not self._receive.isConnected():
            raise ArmSilent(f"The connection to the UR at {self._host} is gone. Check the cable.")
        self._raise_if_stopped()
        stamp = self._receive.getTimestamp()
        if stamp != self._stamp:
            self._stamp, self._fresh = stamp, time.monotonic()
        if self._talks():
            with self._reaching():
                self._keep_alive()
        return Sample(
            joints=np.array(self._receive.getActualQ()),
            pose=np.array(self._receive.getActualTCPPose()),
            stamp=stamp,
            grip=self._sense_grip(),
        )

    def servo(self, target: Float64, grip: float | None) -> None:
        """ServoJ or servoL, and the gripper when it changes."""
        values = require_finite(target, "UR target").tolist()
        if not self._talks():
            return  # `ServoArm` judges how long that may last
        move = self._control.servoL if self._tool else self._control.servoJ
        with self._reaching():
            moved = move(values, 0.0, 0.0, 1.0 / self._hz, LOOKAHEAD, GAIN)
        if not moved:
            self._raise_if_stopped()
            raise ArmStopped(f"The UR at {self._host} refused a servo command.")
        self._kick_due = False
        if self._gripper is not None and grip is not None:
            self._gripper.move(grip)

    def stop(self) -> None:
        """servoStop: decelerate, hold (stop category 2)."""
        if self._control is None or self._receive.isProtectiveStopped():
            return  # it stands already
        if not self._talks():  # servoStop would never return
            raise ArmSilent(f"The UR at {self._host} is frozen; it cannot be told to stop.")
        with self._reaching():
            if not self._control.isProgramRunning():
                return  # the controller holds; servoStop would wait for the program in vain
            stopped = self._control.servoStop(DECELERATION)
        if not stopped:
            raise RobotError(f"The UR at {self._host} did not confirm servoStop.")

    def close(self) -> None:
        """End the program, so that the controller itself holds, and disconnect."""
        if self._gripper is not None:
            self._gripper.close()
        for interface in (self._control, self._receive):
            if interface is not None:
                interface.disconnect()
        # their destructors hold the interpreter up for a second: have them run now, in this
        # thread, and not whenever the garbage collector finds them, in the next flight
        self._control = self._receive = interface = None

    def recover(self) -> None:
        """For an operator who has looked: unlock a protective stop. Then connect again.

        Raises:
            RobotError: when the dashboard does not answer or refuses (it wants 5 s to pass).
        """
        self._dashboard("unlockProtectiveStop")

    def release(self) -> None:
        """For an operator: power off; the brakes engage (stop category 1)."""
        self._dashboard("powerOff")

    def _dashboard(self, call: str) -> None:
        import dashboard_client

        try:
            client = dashboard_client.DashboardClient(self._host)
            client.connect()
            getattr(client, call)()
            client.disconnect()
        except RuntimeError as error:
            raise RobotError(f"The dashboard of {self._host} failed {call}: {error}") from error

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """ur_rtde tells a link that broke in the middle of a call by a RuntimeError."""
        try:
            yield
        except RuntimeError as error:
            raise ArmSilent(f"The UR at {self._host} went away in a call: {error}.") from error

    def _talks(self) -> bool:
        """Whether the controller told something just now.

        ur_rtde crashes the process (1.6.5, segmentation fault) when it is told to send while
        it reconnects by itself, which it does after a moment of silence: so nothing is sent
        into a silence.
        """
        return time.monotonic() - self._fresh < FROZEN and self._control.isConnected()

    def _keep_alive(self) -> None:
        if self._kick_due:  # nothing was streamed since: tell the watchdog that we live
            self._control.kickWatchdog()
        self._kick_due = True
        if not self._control.isProgramRunning():
            time.sleep(REASON)  # the other connection may tell a moment later why
            self._raise_if_stopped()
            raise ArmStopped(
                f"The control program on the UR at {self._host} has stopped (its watchdog, the "
                "pendant, or a safety stop). Find out why, then connect again."
            )

    def _raise_if_stopped(self) -> None:
        if self._receive.isEmergencyStopped():
            raise ArmStopped(f"The UR at {self._host} is emergency-stopped.")
        if self._receive.isProtectiveStopped():
            raise ArmStopped(
                f"The UR at {self._host} is in a protective stop (collision, joint limit, or a "
                "command it could not follow). Clear the cause, then ServoArm.recover()."
            )

    def _sense_grip(self) -> float | None:
        if self._gripper is not None and time.monotonic() - self._grip_time > GRIP_PERIOD:
            self._grip, self._grip_time = self._gripper.opening(), time.monotonic()
        return self._grip
