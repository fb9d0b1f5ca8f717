"""Options of arms that are driven through their vendor's SDK."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robot_drivers.config import RobotConfig
from vla.embodiment import Embodiment
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
"""Joint limits in rad: UR's and UFACTORY's manuals, Franka's FR3 data sheet, Trossen's WXAI page."""


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

    def __post_init__(self) -> None:
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

    def embodiment(self, world: Embodiment) -> Embodiment:
        """The arm's own, whatever the simulated world would have."""
        return self.body().embodiment

    def build(self, factory: Callable[[], Any]) -> Any:
        """The `ServoArm`; nothing is opened before its `connect`."""
        from robot_drivers.servo_arm import ServoArm

        self.require_address()
        return ServoArm(
            self.body(),
            self.link(),
            servo_hz=self.servo_hz,
            silence=self.silence,
            patience=self.patience,
        )

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
        """A `UrLink`."""
        from robot_drivers.ur import UrLink

        return UrLink(
            self.host,
            servo_hz=self.servo_hz,
            tool=self.commands == "tool",
            watchdog_hz=self.watchdog_hz,
            gripper=self.gripper,
        )


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
