"""An arm with cameras beside it: one device, whose pictures are decoded in another process."""

from dataclasses import replace
from functools import partial
from typing import Any

from robot_drivers.camera_config import LerobotCameraConfig
from robot_drivers.camera_process import ProcessCameras
from robot_drivers.cameras import CameraSource, Frames, NoCameras
from robot_drivers.device import Device
from vla.embodiment import Camera, Embodiment
from vla.errors import RobotError
from vla.types import Float32

START_TIMEOUT = 60.0
"""Seconds until the first picture: the process imports LeRobot before it opens anything."""


class SeeingArm:
    """Implements `device.Device` and `CameraSource`; `close` it when done."""

    def __init__(self, robot: Device, configs: dict[str, LerobotCameraConfig]):
        """Wrap `robot`; opens nothing."""
        self._robot, self._configs = robot, configs
        self._cameras: CameraSource = NoCameras()
        cameras = {
            name: Camera(height=config.height, width=config.width, source=config.type)
            for name, config in configs.items()
        }
        self.embodiment: Embodiment = replace(robot.embodiment, cameras=cameras)

    def connect(self) -> None:
        """Open the cameras, then the arm. Raises RobotError; then nothing stays open."""
        self._cameras.close()
        factory = partial(open_cameras, self._configs)
        self._cameras = ProcessCameras(factory, self.embodiment, start_timeout=START_TIMEOUT)
        try:
            self._robot.connect()
        except RobotError:
            self.close()
            raise

    def read(self) -> tuple[Float32, float]:
        """The arm's."""
        return self._robot.read()

    def write(self, action: Float32) -> Float32:
        """The arm's."""
        return self._robot.write(action)

    def halt(self) -> None:
        """The arm's."""
        self._robot.halt()

    def latest(self) -> Frames:
        """The newest pictures. Raises RobotError when the process that takes them has ended."""
        return self._cameras.latest()

    def release(self) -> None:
        """For an operator, never a loop: the arm goes limp."""
        self._robot.release()

    def recover(self) -> None:
        """For an operator who has looked: clear a stop; then connect again."""
        self._robot.recover()

    def close(self) -> None:
        """Close the arm, torque on, then the cameras; idempotent."""
        try:
            self._robot.close()
        finally:
            cameras, self._cameras = self._cameras, NoCameras()
            cameras.close()


def open_cameras(configs: dict[str, LerobotCameraConfig]) -> Any:
    """The cameras, in the process that takes the pictures; LeRobot is imported there alone."""
    from robot_drivers.lerobot_cameras import LerobotCameras

    return LerobotCameras(configs)
