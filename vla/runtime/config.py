"""Options of the control loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.contract import Controller, Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError, UnknownChoice

if TYPE_CHECKING:
    from vla.runtime.async_controller import AsyncController
    from vla.runtime.motion import MotionLimits

KINDS = ("sync", "async")


@dataclass(kw_only=True, slots=True)
class ControlConfig:
    """How plans become commands.

    Attributes:
        kind: "sync": the loop waits for the policy whenever it needs a plan.
        execute: rows of a plan to run before asking again; a shorter plan runs to its end.
        rate_limits: per action axis, the largest change of the command in units per second;
            axes that are not named are not limited.
    """

    kind: str = "sync"
    execute: int = 4
    rate_limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownChoice("control kind", self.kind, KINDS)
        if self.execute < 1:
            raise ConfigError(f"control.execute is {self.execute}; run at least one row of a plan.")
        for name, limit in self.rate_limits.items():
            if not (limit > 0 and math.isfinite(limit)):
                raise ConfigError(
                    f"control.rate_limits[{name!r}] is {limit}; give a positive number, "
                    "or leave the axis out for no limit."
                )

    def build(self, policy: Policy) -> Controller:
        """The controller that drives `policy`, in this process."""
        from vla.runtime.controller import ChunkController

        return ChunkController(policy, config=self)


@dataclass(kw_only=True, slots=True)
class AsyncControlConfig(ControlConfig):
    """Plans come from a process of their own; the control loop never waits for one.

    Attributes:
        kind: "async".
        execute: rows between the observations of two plans; 1: plan as often as possible.
        hz: commands per second; 0: the rate of the plans. Between rows the stream is linear.
        stale: seconds without a new plan after which the arm slows down and holds.
        max_plan_age: oldest observation a new plan may rest on, seconds.
        action_delay: seconds until the arm follows a command; rows are sent so much earlier.
        resume_jump: a hold ends by itself only where the new plan's action lies within what
            full speed covers in so many seconds.
        priority: real-time priority of the control loop, 1 to 99; 0: normal scheduling.
        hang: seconds without a sign of life after which the planning process is replaced.
        start_timeout: seconds that loading the policy may take.
    """

    kind: str = "async"
    execute: int = 1
    hz: float = 0.0
    stale: float = 0.25
    max_plan_age: float = 1.0
    action_delay: float = 0.0
    resume_jump: float = 0.25
    priority: int = 50
    hang: float = 10.0
    start_timeout: float = 300.0

    def __post_init__(self) -> None:
        super(AsyncControlConfig, self).__post_init__()
        for name in ("stale", "max_plan_age", "resume_jump", "hang", "start_timeout"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"control.{name} is {value}; it must be positive and finite.")
        for name in ("hz", "action_delay"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(f"control.{name} is {getattr(self, name)}; give 0 or more.")
        if not 0 <= self.priority <= 99:
            raise ConfigError(f"control.priority is {self.priority}; give 1 to 99, or 0 for none.")
        if self.rate_limits:
            raise ConfigError(
                "control.rate_limits belong to control=sync; control=async keeps to the limits "
                "of the robot's gate (robot.gate)."
            )

    def build(self, policy: Policy) -> Controller:
        """Not possible: simulations stand still while a policy plans. Raises ConfigError."""
        raise ConfigError(
            f"control={self.kind} needs a robot in wall-clock time (vla run); use control=sync."
        )

    def open(
        self,
        factory: "Callable[[], tuple[Policy, str]]",
        embodiment: Embodiment,
        *,
        limits: "MotionLimits | None" = None,
    ) -> "AsyncController":
        """Start the planning process; close the controller when done.

        Args:
            factory: picklable; called in that process, returns the policy and its weights' hash.
            embodiment: the policy's.
            limits: of the motion, from the robot's gate.

        Raises:
            ConfigError: when plans are asked for too rarely to stay fresh.
            RobotError: when the policy cannot be loaded in time.
        """
        if self.execute / embodiment.hz >= self.stale:
            raise ConfigError(
                f"control.execute={self.execute} rows last {self.execute / embodiment.hz:.2f} s, "
                f"control.stale is {self.stale} s: every plan would be followed by a hold. "
                "Lower control.execute."
            )
        from vla.runtime.async_controller import AsyncController

        return AsyncController(factory, embodiment, config=self, limits=limits)
