"""Options of arms that are driven through their vendor's SDK."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from robot_drivers.camera_config import LerobotCameraConfig
from robot_drivers.config import RobotConfig
from vla.errors import ConfigError, choose

TURN = 6.283185307179586
LIMITS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ur": ((-TURN,) * 6, (TURN,) * 6),
    "xarm5": ((-TURN, -2.059, -3.927, -1.693, -TURN), (TURN, 2.094, 0.192, 3.1416, TURN)),
    "xarm6": (
        (-TURN, -2.059, -3.927, -TURN, -1.693, -TURN),
        (TURN, 2.094, 0.192, TURN, 3.1416, TURN),
    ),
    "xarm7": (
        (-TURN, -2.059, -TURN, -0.19198, -TURN, -1.693, -TURN),
        (TURN, 2.094, TURN, 3.927, TURN, 3.1416, TURN),
    ),
    "franka": (
        (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    ),
    "trossen": (
        (-3.0543, 0.0, 0.0, -1.5708, -1.5708, -3.1416),
        (3.0543, 3.1416, 2.3562, 1.5708, 1.5708, 3.1416),
    ),
}
"""Joint limits in rad: UR's and UFACTORY's manuals, Franka's FR3 sheet, Trossen's WXAI page."""


@dataclass(kw_only=True, slots=True)
class ArmConfig(RobotConfig):
    """What all arms with a servo interface share.

    Attributes:
        host: address of the controller.
        hz: control rate, commands per second.
        servo_hz: small steps per second between them.
        commands: "joint" (absolute, rad) or "tool" (steps in the base frame, metres and rad).
        gripper: whether one is mounted.
        pose: the state carries the tool's pose after the joints (a workspace needs it).
        speed, tool_speed, turn_speed: the driver's own bounds behind the gate: rad/s of a
            joint, m/s and rad/s of the tool.
        joint_lag, tool_lag: how far the arm may trail its commands, rad and metres.
        silence: seconds without a fresh state after which the arm counts as silent.
        patience: seconds that connecting may take.
        cameras: by name, through LeRobot; their pictures are taken in a process of its own.
    """

    host: str = ""
    hz: float = 20.0
    servo_hz: float = 100.0
    commands: str = "joint"
    gripper: bool = False
    pose: bool = True
    speed: float = 2.0
    tool_speed: float = 0.5
    turn_speed: float = 2.0
    joint_lag: float = 0.4
    tool_lag: float = 0.1
    silence: float = 0.15
    patience: float = 10.0
    cameras: dict[str, LerobotCameraConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.check()
        choose("robot.commands:", self.commands, dict.fromkeys(("joint", "tool")))
        for name in (
            "hz",
            "servo_hz",
            "speed",
            "tool_speed",
            "turn_speed",
            "joint_lag",
            "tool_lag",
            "silence",
            "patience",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"robot.{name} is {getattr(self, name)}; it must be positive.")
        if self.commands == "tool" and not self.pose:
            raise ConfigError("robot.commands=tool needs the tool's pose; leave robot.pose=true.")
        if self.servo_hz < self.hz:
            raise ConfigError(
                f"robot.servo_hz {self.servo_hz} is below robot.hz {self.hz}; steps between "
                "commands cannot be fewer than the commands."
            )

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lower and upper joint limits, rad."""
        return LIMITS[self.kind]

    def body(self) -> Any:
        """The `ArmBody`: axes and limits."""
        from robot_drivers.arm_body import ArmBody

        low, high = self.limits()
        names = ("hz", "commands", "gripper", "pose", "speed", "tool_speed", "turn_speed")
        shared = {name: getattr(self, name) for name in (*names, "joint_lag", "tool_lag")}
        return ArmBody(name=self.kind, low=low, high=high, **shared)

    def build(self, factory: Callable[[], Any] | None = None) -> Any:
        """The `ServoArm`, and its cameras; nothing is opened before `connect`."""
        from robot_drivers.seeing_arm import SeeingArm
        from robot_drivers.servo_arm import ServoArm

        self.require_address()
        arm = ServoArm(
            self.body(),
            self.link(),
            servo_hz=self.servo_hz,
            silence=self.silence,
            patience=self.patience,
        )
        return SeeingArm(arm, self.cameras) if self.cameras else arm

    def require_address(self) -> None:
        """Raises ConfigError when `host` is no IP address: a name that resolves slowly hangs."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError as error:
            raise ConfigError(
                f"robot.host is {self.host!r}; give the controller's IP address."
            ) from error

    def link(self) -> Any:
        """The SDK behind the seam."""
        raise ConfigError("No arm is chosen; give e.g. robot=ur.")


@dataclass(kw_only=True, slots=True)
class UrConfig(ArmConfig):
    """A Universal Robots arm, any size, e-series or CB3, in remote control.

    Attributes:
        watchdog_hz: the controller stops its program when commands come slower than this.
    """

    kind: str = "ur"
    servo_hz: float = 125.0
    watchdog_hz: float = 10.0

    def link(self) -> Any:
        """A `UrLink` in a process of its own: ur_rtde 1.6.5 can crash while it reconnects."""
        from robot_drivers.link_process import LinkProcess
        from robot_drivers.ur import UrLink

        build = partial(
            UrLink,
            self.host,
            servo_hz=self.servo_hz,
            tool=self.commands == "tool",
            watchdog_hz=self.watchdog_hz,
            gripper=self.gripper,
        )
        return LinkProcess(build, patience=self.patience)


@dataclass(kw_only=True, slots=True)
class XArmConfig(ArmConfig):
    """A UFACTORY xArm.

    Attributes:
        joints: 5, 6 or 7.
    """

    kind: str = "xarm"
    joints: int = 6

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of the xArm with so many joints."""
        return choose("xArm, by joints:", f"xarm{self.joints}", LIMITS)

    def link(self) -> Any:
        """An `XArmLink`."""
        from robot_drivers.xarm import XArmLink

        tool = self.commands == "tool"
        return XArmLink(self.host, joints=self.joints, tool=tool, gripper=self.gripper)


@dataclass(kw_only=True, slots=True)
class FrankaConfig(ArmConfig):
    """A Franka Research 3 or Panda through franky; not yet tried on hardware.

    Attributes:
        dynamics: share of the arm's speed, acceleration and jerk limits that franky may use.
    """

    kind: str = "franka"
    servo_hz: float = 20.0
    dynamics: float = 0.2

    def __post_init__(self) -> None:
        ArmConfig.__post_init__(self)
        if not 0 < self.dynamics <= 1:
            raise ConfigError(f"robot.dynamics is {self.dynamics}; give a share up to 1.")

    def link(self) -> Any:
        """A `FrankaLink`."""
        from robot_drivers.franka import FrankaLink

        tool = self.commands == "tool"
        return FrankaLink(self.host, tool=tool, gripper=self.gripper, dynamics=self.dynamics)


@dataclass(kw_only=True, slots=True)
class TrossenConfig(ArmConfig):
    """A Trossen WidowX AI follower through trossen-arm; not yet tried on hardware.

    Attributes:
        model: name in trossen_arm.Model.
        end_effector: name in trossen_arm.StandardEndEffector.
    """

    kind: str = "trossen"
    gripper: bool = True
    model: str = "wxai_v0"
    end_effector: str = "wxai_v0_follower"

    def link(self) -> Any:
        """A `TrossenLink`."""
        from robot_drivers.trossen import TrossenLink

        return TrossenLink(
            self.host,
            model=self.model,
            end_effector=self.end_effector,
            tool=self.commands == "tool",
            goal_time=2.0 / self.servo_hz,
        )


@dataclass(kw_only=True, slots=True)
class Ros2Config(ArmConfig):
    """Any arm behind ROS 2, through the bridge `robot_drivers/ros2_node.py` on its machine.

    Joint commands only; the joints come in the order of `joints`.

    Attributes:
        port: of the bridge.
        joints: their names in /joint_states.
        low, high: their limits, rad.
    """

    kind: str = "ros2"
    pose: bool = False
    port: int = 7011
    joints: list[str] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        ArmConfig.__post_init__(self)
        if self.commands != "joint" or self.pose or self.gripper:
            raise ConfigError("robot=ros2 has joints only: commands=joint, pose=gripper=false.")
        if not len(self.joints) == len(self.low) == len(self.high):
            raise ConfigError("robot.joints, robot.low and robot.high must be equally long.")
        if not 0 < self.port < 65536:
            raise ConfigError(f"robot.port is {self.port}; give 1 to 65535.")

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """As given."""
        if not self.joints:
            raise ConfigError("robot.joints is empty; name the joints, and give low and high.")
        return tuple(self.low), tuple(self.high)

    def link(self) -> Any:
        """A `Ros2Link`."""
        from robot_drivers.ros2_bridge import Ros2Link

        return Ros2Link(self.host, port=self.port, joints=tuple(self.joints))
