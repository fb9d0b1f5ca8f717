"""Options of the robots and of the gate in front of each; limits come from here alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vla.embodiment import Embodiment
from vla.errors import ConfigError, UnknownChoice

KINDS = ("sim_arm",)


@dataclass(kw_only=True, slots=True)
class GateConfig:
    """Limits of the safety gate. The defaults are for a real arm near people.

    Speeds of the tool are norms over its axes; joints are limited one by one. 0.25 m/s is
    the reduced speed of ISO 10218; the gate is a Python process and no safety function:
    keep the limits of the arm's own controller and a hardware stop.

    Attributes:
        linear_speed, linear_acceleration: of the tool, m/s and m/s^2.
        angular_speed, angular_acceleration: of the tool, rad/s and rad/s^2.
        joint_speed, joint_acceleration: per joint, rad/s and rad/s^2.
        workspace_low, workspace_high: x, y, z of the box the measured tool position must
            stay in, metres, base frame; both empty: no box. The low z is the table plane.
            The arm trails its commands, so leave a margin of speed times that delay.
        joint_margin: distance to keep from the joint limits of the embodiment, rad.
        lead: how far an absolute command may lead the measured state, in seconds at full speed.
        max_age: oldest observation (state or picture) a command may rest on, seconds.
        latch_after: refusals in a row after which the gate stops for good.
    """

    linear_speed: float = 0.25
    linear_acceleration: float = 5.0
    angular_speed: float = 1.05
    angular_acceleration: float = 20.0
    joint_speed: float = 1.05
    joint_acceleration: float = 20.0
    workspace_low: list[float] = field(default_factory=list)
    workspace_high: list[float] = field(default_factory=list)
    joint_margin: float = 0.02
    lead: float = 0.25
    max_age: float = 0.25
    latch_after: int = 5

    def __post_init__(self) -> None:
        for name in (
            "linear_speed",
            "linear_acceleration",
            "angular_speed",
            "angular_acceleration",
            "joint_speed",
            "joint_acceleration",
            "lead",
            "max_age",
        ):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"gate.{name} is {value}; it must be positive and finite.")
        if not self.joint_margin >= 0:
            raise ConfigError(f"gate.joint_margin is {self.joint_margin}; it must not be negative.")
        if self.latch_after < 1:
            raise ConfigError(f"gate.latch_after is {self.latch_after}; it must be at least 1.")
        box = list(zip(self.workspace_low, self.workspace_high, strict=False))
        if len(self.workspace_low) != len(self.workspace_high) or len(box) not in (0, 3):
            raise ConfigError(
                "gate.workspace_low and gate.workspace_high take x, y and z each, or nothing."
            )
        if not all(low < high for low, high in box):
            raise ConfigError(
                f"gate.workspace_low {self.workspace_low} is not below "
                f"gate.workspace_high {self.workspace_high} on every axis."
            )

    def build(self, embodiment: Embodiment) -> Any:
        """The `SafetyGate` for this body."""
        from robot_drivers.gate import SafetyGate

        return SafetyGate(self, embodiment)


def _sim_arm_gate() -> GateConfig:
    """Lets through whatever the tabletop's action axes allow, in every direction at once.

    0.025 m and 0.15 rad per axis and tick at 20 Hz are 0.5 m/s and 3 rad/s per axis,
    sqrt(3) times that on a diagonal; the accelerations allow a reversal within one tick.
    Nobody stands next to a simulated arm.
    """
    return GateConfig(
        linear_speed=0.87,
        linear_acceleration=35.0,
        angular_speed=5.2,
        angular_acceleration=210.0,
    )


@dataclass(kw_only=True, slots=True)
class RobotConfig:
    """Base of all robots.

    Attributes:
        gate: limits of the safety gate in front of the arm.
    """

    kind: str = ""
    gate: GateConfig = field(default_factory=GateConfig)

    def build(self, factory: Callable[[], Any]) -> Any:
        """The driver; `factory` builds the plant of a simulated arm, real ones ignore it."""
        raise ConfigError("No robot is chosen; give e.g. robot=sim_arm.")


@dataclass(kw_only=True, slots=True)
class SimArmConfig(RobotConfig):
    """A robot simulated in its own process, in wall-clock time.

    Attributes:
        kind: "sim_arm".
        step_hz: physics and state rate, steps per second; a multiple of the control rate.
        start_timeout: seconds the process may take to build or reset its scene.
        priority: real-time priority to ask for, 1 to 99, so that the plant keeps to the clock
            on a busy machine; 0, or where the system refuses: normal scheduling.
        gate: limits; wider than those of a real arm (0.25 m/s).
    """

    kind: str = "sim_arm"
    step_hz: float = 100.0
    start_timeout: float = 60.0
    priority: int = 10
    gate: GateConfig = field(default_factory=_sim_arm_gate)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownChoice("robot kind", self.kind, KINDS)
        for name in ("step_hz", "start_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"robot.{name} is {getattr(self, name)}; it must be positive.")
        if not 0 <= self.priority <= 99:
            raise ConfigError(f"robot.priority is {self.priority}; give 1 to 99, or 0 for none.")

    def build(self, factory: Callable[[], Any]) -> Any:
        """Start the process and return the `SimArm`; close it when done.

        Args:
            factory: picklable; called in the new process, returns a `plant.Plant`.
        """
        from robot_drivers.sim_arm import SimArm

        return SimArm(
            factory,
            step_hz=self.step_hz,
            start_timeout=self.start_timeout,
            priority=self.priority,
        )
