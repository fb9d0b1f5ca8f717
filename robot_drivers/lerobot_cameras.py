"""LeRobot's cameras (OpenCV, ZMQ, RealSense, ...) as a `CameraSource`."""

from typing import Any

from robot_drivers.camera_config import LerobotCameraConfig
from robot_drivers.cameras import Frames
from robot_drivers.lerobot_choice import find_schema
from robot_drivers.lerobot_device import DEVICE_ERRORS, explain
from vla.errors import ConfigError, RobotError


class LerobotCameras:
    """Each camera fills its newest picture from a thread of LeRobot's."""

    def __init__(self, configs: dict[str, LerobotCameraConfig]):
        """Open all; when one fails, none stays open.

        Raises:
            ConfigError: for a type or options that LeRobot does not have.
            RobotError: when a device does not open or gives no picture.
        """
        self._cameras: dict[str, Any] = {}
        for name, config in configs.items():
            camera = _make_camera(name, config)
            try:
                camera.connect()
            except DEVICE_ERRORS as error:
                self.close()
                raise RobotError(
                    f"Camera {name!r} ({config.type}) does not open: {explain(error)} "
                    "Check cable, address and options (lerobot-find-cameras)."
                ) from error
            self._cameras[name] = camera

    def latest(self) -> Frames:
        """The newest pictures, uint8 (H, W, 3) RGB, and when they arrived here (monotonic).

        Raises:
            RobotError: when a camera never gave a picture or its thread has ended.
        """
        frames: Frames = {}
        for name, camera in self._cameras.items():
            with camera.frame_lock:
                picture, when = camera.latest_frame, camera.latest_timestamp
            if picture is None or when is None or not camera.thread or not camera.thread.is_alive():
                raise RobotError(f"Camera {name!r} gives no pictures; check cable and sender.")
            frames[name] = picture, float(when)  # perf_counter is the monotonic clock on Linux
        return frames

    def close(self) -> None:
        """Release the devices; idempotent."""
        while self._cameras:
            _, camera = self._cameras.popitem()
            if camera.is_connected:
                camera.disconnect()


def _make_camera(name: str, config: LerobotCameraConfig) -> Any:
    from lerobot import cameras

    schema = find_schema(cameras, cameras.CameraConfig, config.type)
    size = {"height": config.height, "width": config.width, "fps": config.fps}
    try:
        options = schema(**size, **config.options)
        (camera,) = cameras.make_cameras_from_configs({name: options}).values()
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"Camera {name!r}: LeRobot takes no such options: {error}") from error
    return camera
