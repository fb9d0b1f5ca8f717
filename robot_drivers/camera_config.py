"""Options of the cameras of a real arm."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True)
class LerobotCameraConfig:
    """One camera of LeRobot.

    Attributes:
        type: "opencv", "zmq", "intelrealsense" or another of LeRobot's cameras.
        height, width, fps: as the device is asked to deliver.
        options: what else LeRobot's camera takes, e.g. {index_or_path: /dev/video0} or
            {server_address: 127.0.0.1, port: 5555, camera_name: front}.
    """

    type: str = "opencv"
    height: int = 480
    width: int = 640
    fps: int = 30
    options: dict[str, Any] = field(default_factory=dict)
