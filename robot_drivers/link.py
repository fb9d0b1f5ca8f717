"""Wrappers around a device: bridged losses, and capture times corrected by known delays."""

import numpy as np

from robot_drivers.cameras import CameraSource, Frames
from robot_drivers.device import Device
from vla.embodiment import Embodiment
from vla.errors import ArmStopped, RobotError
from vla.types import Float32


class BridgedRobot:
    """Bridges single lost exchanges with the last state, whose age goes on growing.

    A bus that loses a packet now and then must not end a flight; one that is gone must. A
    command that was lost is not repeated: the next one is due in a few milliseconds.

    Attributes:
        lost: exchanges lost so far.
    """

    def __init__(self, robot: Device, *, losses: int, delay: float = 0.0):
        """Wrap `robot`.

        Args:
            robot: the device; its time-outs must be shorter than a tick.
            losses: how many failures in a row are bridged; the next is raised.
            delay: seconds between a measurement and its arrival, taken off the capture time.
        """
        self.embodiment: Embodiment = robot.embodiment
        self._robot, self._losses, self._delay = robot, losses, delay
        self._state: tuple[Float32, float] | None = None
        self._row = {"read": 0, "write": 0}
        self.lost = 0

    def connect(self) -> None:
        """The device's."""
        self._robot.connect()

    def read(self) -> tuple[Float32, float]:
        """The newest state and its time, or the last ones. Raises RobotError after `losses`."""
        try:
            state, when = self._robot.read()
        except RobotError as error:
            if self._state is None:
                raise
            self._bridge(error, "read")
            return self._state
        self._row["read"] = 0
        self._state = state, when - self._delay
        return self._state

    def write(self, action: Float32) -> Float32:
        """What was sent; all NaN when that is unknown. Raises RobotError after `losses`."""
        try:
            sent = self._robot.write(action)
        except RobotError as error:
            self._bridge(error, "write")
            return np.full(len(self.embodiment.action), np.nan, np.float32)
        self._row["write"] = 0
        return sent

    def halt(self) -> None:
        """The device's."""
        self._robot.halt()

    def close(self) -> None:
        """The device's."""
        self._robot.close()

    def _bridge(self, error: RobotError, way: str) -> None:
        if isinstance(error, ArmStopped):  # it says that it stands: nothing to wait for
            raise error
        self.lost += 1
        self._row[way] += 1
        if self._row[way] > self._losses:
            raise error


class DelayedCameras:
    """Cameras whose pictures arrive late by known times."""

    def __init__(self, cameras: CameraSource, delays: dict[str, float]):
        """`delays`: seconds per camera, taken off the capture times."""
        self._cameras, self._delays = cameras, delays

    def latest(self) -> Frames:
        """The newest pictures with corrected times."""
        frames = self._cameras.latest()
        return {
            name: (image, when - self._delays.get(name, 0.0))
            for name, (image, when) in frames.items()
        }

    def close(self) -> None:
        """The cameras'."""
        self._cameras.close()
