"""Options of the arms that LeRobot drives."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from robot_drivers.camera_config import LerobotCameraConfig
from robot_drivers.config import GateConfig, RobotConfig
from robot_drivers.tool_config import ToolConfig
from vla.errors import ConfigError


def _desk_arm_gate() -> GateConfig:
    """90 degrees and two gripper openings per second: small servos, light links."""
    return GateConfig(joint_speed=math.pi / 2, gripper_speed=2.0)


@dataclass(kw_only=True, slots=True)
class LerobotArmConfig(RobotConfig):
    """Any robot that LeRobot drives and that is moved by joint positions.

    Attributes:
        kind: "lerobot", or one of the arms below.
        type: LeRobot's name of the robot, e.g. "so101_follower".
        port: of the servo bus, e.g. /dev/ttyACM0; "" where the robot has none.
        id: which calibration file, as given to lerobot-calibrate.
        calibration_dir: where it lies; "" for LeRobot's own place.
        options: what else LeRobot's robot takes.
        limits: per joint [low, high] in rad, where LeRobot has no calibration to take them from.
        hz: control rate.
        io_timeout: seconds one exchange with the bus may wait for an answer.
        watchdog: seconds of silence after which the servos stop by themselves, where they can
            (Dynamixel; at most 2.5); 0 for none.
        cameras: by name; their pictures are taken in a process of its own.
        tool: tool steps instead of joint goals.
        gate: limits.
    """

    kind: str = "lerobot"
    type: str = "???"
    port: str = ""
    id: str = "arm"
    calibration_dir: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, list[float]] = field(default_factory=dict)
    hz: float = 30.0
    io_timeout: float = 0.003
    watchdog: float = 0.5
    cameras: dict[str, LerobotCameraConfig] = field(default_factory=dict)
    tool: ToolConfig = field(default_factory=ToolConfig)
    gate: GateConfig = field(default_factory=_desk_arm_gate)

    def __post_init__(self) -> None:
        self.check()
        for name in ("hz", "io_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"robot.{name} is {getattr(self, name)}; it must be positive.")
        if not 0 <= self.watchdog <= 2.54:
            raise ConfigError(f"robot.watchdog is {self.watchdog} s; give 0 to 2.54.")

    def build(self, factory: Callable[[], Any] | None = None) -> Any:
        """The `LerobotArm` with what is around it, not connected. Imports LeRobot: seconds."""
        from robot_drivers.lerobot_arm import LerobotArm
        from robot_drivers.seeing_arm import SeeingArm
        from robot_drivers.threaded_arm import ThreadedArm

        arm = LerobotArm(self)
        if not arm.bounded:
            arm = ThreadedArm(arm)
        if self.tool.model:
            arm = self.tool.wrap(arm)
        return SeeingArm(arm, self.cameras) if self.cameras else arm


@dataclass(kw_only=True, slots=True)
class So101Config(LerobotArmConfig):
    """SO-101: six Feetech servos. Takes the same keys as robot=lerobot."""

    kind: str = "so101"
    type: str = "so101_follower"
    port: str = "/dev/ttyACM0"


@dataclass(kw_only=True, slots=True)
class So100Config(LerobotArmConfig):
    """SO-100: six Feetech servos. Takes the same keys as robot=lerobot."""

    kind: str = "so100"
    type: str = "so100_follower"
    port: str = "/dev/ttyACM0"


@dataclass(kw_only=True, slots=True)
class KochConfig(LerobotArmConfig):
    """Koch v1.1: six Dynamixel servos. Takes the same keys as robot=lerobot."""

    kind: str = "koch"
    type: str = "koch_follower"
    port: str = "/dev/ttyUSB0"
