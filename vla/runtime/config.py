"""Options of the control loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.contract import Controller, Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError, UnknownChoice
from vla.runtime.execution_config import ExecutionConfig

if TYPE_CHECKING:
    from vla.runtime.async_controller import AsyncController
    from vla.runtime.motion import MotionLimits

KINDS = ("sync", "async")


@dataclass(kw_only=True, slots=True)
class LatencyConfig:
    """How long a plan takes on the clock of a simulation; for `vla eval`.

    Attributes:
        seconds: what every plan takes at least.
        jitter: mean of an exponential tail on top, seconds.
        drop: probability that a plan is lost.
    """

    seconds: float = 0.0
    jitter: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("seconds", "jitter"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(
                    f"control.latency.{name} is {getattr(self, name)}; give 0 or more."
                )
        if not 0 <= self.drop < 1:
            raise ConfigError(f"control.latency.drop is {self.drop}; give 0 to below 1.")

    @property
    def any(self) -> bool:
        """Whether plans are late or lost at all."""
        return max(self.seconds, self.jitter, self.drop) > 0


@dataclass(kw_only=True, slots=True)
class ControlConfig:
    """How plans become commands.

    Attributes:
        kind: "sync": the loop waits for the policy whenever it needs a plan.
        execute: rows of a plan to run before asking again; a shorter plan runs to its end.
        rate_limits: per action axis, the largest change of the command in units per second;
            axes that are not named are not limited.
        execution: how plans are joined to each other.
        latency: how long planning takes in a simulation, which else waits for it.
    """

    kind: str = "sync"
    execute: int = 4
    rate_limits: dict[str, float] = field(default_factory=dict)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    latency: LatencyConfig = field(default_factory=LatencyConfig)

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
        policy = self.execution.wrap(policy)
        if self.latency.any:
            from vla.runtime.latency import StopAndGo

            return StopAndGo(policy, config=self)
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
        delay_window, delay_quantile: the delay that a method counts on (control/execution) is
            this quantile of that of the last `delay_window` plans.
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
    delay_window: int = 16
    delay_quantile: float = 0.9
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
        if self.delay_window < 1 or not 0 <= self.delay_quantile <= 1:
            raise ConfigError(
                f"control.delay_window is {self.delay_window}, delay_quantile "
                f"{self.delay_quantile}; give at least 1, and 0 to 1."
            )
        if not 0 <= self.priority <= 99:
            raise ConfigError(f"control.priority is {self.priority}; give 1 to 99, or 0 for none.")
        if self.rate_limits:
            raise ConfigError(
                "control.rate_limits belong to control=sync; control=async keeps to the limits "
                "of the robot's gate (robot.gate)."
            )

    def build(self, policy: Policy) -> Controller:
        """The same on the clock of a simulation, where planning takes `latency`.

        Raises:
            ConfigError: when plans are asked for too rarely to stay fresh.
        """
        from vla.runtime.latency import VirtualAsync

        self._require_fresh(policy.embodiment)
        return VirtualAsync(self.execution.wrap(policy), config=self)

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
        self._require_fresh(embodiment)
        if self.latency.any:
            raise ConfigError("control.latency is for simulations; on an arm planning takes time.")
        from vla.runtime.async_controller import AsyncController
        from vla.runtime.planner import WrappedFactory

        wrapped = WrappedFactory(factory, self.execution)
        return AsyncController(wrapped, embodiment, config=self, limits=limits)

    def _require_fresh(self, embodiment: Embodiment) -> None:
        """Raise ConfigError when plans are asked for too rarely."""
        if self.execute / embodiment.hz >= self.stale:
            raise ConfigError(
                f"control.execute={self.execute} rows last {self.execute / embodiment.hz:.2f} s, "
                f"control.stale is {self.stale} s: every plan would be followed by a hold. "
                "Lower control.execute."
            )
