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
        gripper_speed: of absolute axes without a unit, whole strokes per second; 0: not limited.
        linear_jerk, angular_jerk, joint_jerk: largest change of acceleration, units per second
            cubed; 0: not limited. A hold may exceed it: slowing down comes first.
        workspace_low, workspace_high: x, y, z of the box the measured tool position must
            stay in, metres, base frame; both empty: no box. The low z is the table plane.
            The arm trails its commands, so leave a margin of speed times that delay.
        keep_out: boxes that must not be entered, each [x, y, z, x, y, z]: low and high corner.
        model: MJCF or URDF file of the arm, whose joints are named like the axes; needed for
            a workspace or keep-out boxes when joints are commanded. "": none.
        model_points: bodies or sites of the model that must keep to the allowed space.
        joint_margin: distance to keep from the joint limits of the embodiment, rad.
        lead: how far an absolute command may lead the measured state, in seconds at full speed.
        max_age: oldest observation (state or picture) a command may rest on, seconds.
        tracking: how far a joint may be from where it was sent, rad; more is a blocked arm.
        max_plan_age: seconds after which the newest plan of an asynchronous policy is too old.
        max_missed: slots missed at once after which a command is not sent any more.
        latch_after: bad commands in a row after which the gate stops for good.
        hold_limit: seconds that a hold for want of fresh data may last before it is for good.
    """

    linear_speed: float = 0.25
    linear_acceleration: float = 5.0
    angular_speed: float = 1.05
    angular_acceleration: float = 20.0
    joint_speed: float = 1.05
    joint_acceleration: float = 20.0
    gripper_speed: float = 0.0
    linear_jerk: float = 0.0
    angular_jerk: float = 0.0
    joint_jerk: float = 0.0
    workspace_low: list[float] = field(default_factory=list)
    workspace_high: list[float] = field(default_factory=list)
    keep_out: list[list[float]] = field(default_factory=list)
    model: str = ""
    model_points: list[str] = field(default_factory=list)
    joint_margin: float = 0.02
    lead: float = 0.25
    tracking: float = 0.35
    max_age: float = 0.25
    max_plan_age: float = 0.5
    max_missed: int = 5
    latch_after: int = 5
    hold_limit: float = 10.0

    def __post_init__(self) -> None:
        for name in (
            "linear_speed",
            "linear_acceleration",
            "angular_speed",
            "angular_acceleration",
            "joint_speed",
            "joint_acceleration",
            "lead",
            "tracking",
            "max_age",
            "max_plan_age",
            "hold_limit",
        ):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"gate.{name} is {value}; it must be positive and finite.")
        if not self.joint_margin >= 0:
            raise ConfigError(f"gate.joint_margin is {self.joint_margin}; it must not be negative.")
        for name in ("linear_jerk", "angular_jerk", "joint_jerk", "gripper_speed"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(f"gate.{name} is {getattr(self, name)}; give 0 or more.")
        for name in ("latch_after", "max_missed"):
            if getattr(self, name) < 1:
                raise ConfigError(f"gate.{name} is {getattr(self, name)}; it must be at least 1.")
        if bool(self.model) != bool(self.model_points):
            raise ConfigError("gate.model and gate.model_points belong together; give both.")
        self._check_boxes()

    def _check_boxes(self) -> None:
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
        for corners in self.keep_out:
            pairs = list(zip(corners[:3], corners[3:], strict=False))
            if len(corners) != 6 or not all(low < high for low, high in pairs):
                raise ConfigError(
                    f"gate.keep_out has {corners}; give [x, y, z, x, y, z], low corner first."
                )

    def build(self, embodiment: Embodiment) -> Any:
        """The `SafetyGate` for this body, commanded at its rate.

        Raises:
            ContractError: when an axis, or a box, cannot be guarded.
            RobotError: when the model cannot be read.
        """
        from robot_drivers.gate import SafetyGate
        from robot_drivers.kinematics import ModelPoints

        joints = [axis.name for axis in embodiment.state if axis.frame == "joint"]
        points = ModelPoints(self.model, joints, self.model_points) if self.model else None
        return SafetyGate(self, embodiment, points=points)


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
        tracking=10.0,
    )


@dataclass(kw_only=True, slots=True)
class RobotConfig:
    """Base of all robots.

    Attributes:
        gate: limits of the safety gate in front of the arm.
        confirm: "key": before each episode an operator confirms at the terminal that the arm
            may move; "none": nobody is asked.
        creep: how far a joint may stand outside its limits at the start, rad; an operator agrees
            (`confirm`), then it comes back in slowly before the episode. 0: such a start is
            refused, and the arm is moved by hand.
        home: where the arm goes after an episode that ended well: one number per action axis,
            in the units of the measured axes; empty: it stays.
        home_time: most seconds that the way home may take.
        state_delay: seconds between a measurement and its arrival here.
        camera_delay: the same per camera; cameras that are not named have none.
        losses: failed exchanges with the device in a row that are bridged by the last state;
            one more is a fault.
        stop_file: the emergency stop: the arm stops when a file of that name appears; "": none.
        stop_device: a Linux input device (/dev/input/by-id/...-event-kbd) of which every key
            is an emergency stop; "": none.
        stop_key: whether the space bar at the terminal is an emergency stop.
    """

    kind: str = ""
    gate: GateConfig = field(default_factory=GateConfig)
    confirm: str = "key"
    creep: float = 0.0
    home: list[float] = field(default_factory=list)
    home_time: float = 10.0
    state_delay: float = 0.0
    camera_delay: dict[str, float] = field(default_factory=dict)
    losses: int = 2
    stop_file: str = ""
    stop_device: str = ""
    stop_key: bool = True

    def check(self) -> None:
        """Raise ConfigError for values that make no sense; subclasses call it first."""
        if self.confirm not in ("key", "none"):
            raise UnknownChoice("robot.confirm", self.confirm, ("key", "none"))
        delays = {
            "state_delay": self.state_delay,
            "creep": self.creep,
            "losses": self.losses,
            **self.camera_delay,
        }
        for name, value in delays.items():
            if not (value >= 0 and math.isfinite(value)):
                raise ConfigError(f"robot.{name} is {value}; it must not be negative.")
        if not (self.home_time > 0 and math.isfinite(self.home_time)):
            raise ConfigError(f"robot.home_time is {self.home_time}; it must be positive.")

    def steady(self, controller: Any) -> Any:
        """A synchronous controller, kept within the gate's speeds and accelerations."""
        from robot_drivers.replay import motion_limits
        from vla.runtime.steady_controller import SteadyController

        limits = motion_limits(self.gate.build(controller.embodiment))
        return SteadyController(controller, limits)

    def build(self, factory: Callable[[], Any]) -> Any:
        """The driver; `factory` builds the plant of a simulated arm, real ones ignore it."""
        raise ConfigError("No robot is chosen; give e.g. robot=sim_arm.")


@dataclass(kw_only=True, slots=True)
class SimArmConfig(RobotConfig):
    """A robot simulated in its own process, in wall-clock time.

    Attributes:
        kind: "sim_arm".
        confirm: "none": nobody stands next to it.
        step_hz: physics and state rate, steps per second; a multiple of the control rate.
        start_timeout: seconds the process may take to build or reset its scene.
        priority: real-time priority to ask for, 1 to 99, so that the plant keeps to the clock
            on a busy machine; 0, or where the system refuses: normal scheduling.
        gate: limits; wider than those of a real arm (0.25 m/s).
    """

    kind: str = "sim_arm"
    confirm: str = "none"
    step_hz: float = 100.0
    start_timeout: float = 60.0
    priority: int = 10
    gate: GateConfig = field(default_factory=_sim_arm_gate)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownChoice("robot kind", self.kind, KINDS)
        self.check()
        for name in ("step_hz", "start_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"robot.{name} is {getattr(self, name)}; it must be positive.")
        if not 0 <= self.priority <= 99:
            raise ConfigError(f"robot.priority is {self.priority}; give 1 to 99, or 0 for none.")

    def steady(self, controller: Any) -> Any:
        """As it is: what moves is what was evaluated, and its gate lets all of that through."""
        return controller

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
