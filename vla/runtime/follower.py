"""The asynchronous controller without its processes: plans and times in, commands out.

Everything here is a function of what it is called with, so a replay of the flight log, and a
simulated delay on a virtual clock, give the same numbers as the flight.
"""

from collections import Counter

import numpy as np

from vla.embodiment import Embodiment
from vla.runtime.chunking import admission
from vla.runtime.config import AsyncControlConfig
from vla.runtime.controller import refuse_relative
from vla.runtime.motion import MotionLimits, Mover
from vla.runtime.streaming import at_rate
from vla.runtime.telling import DelayEstimate, tell
from vla.types import ActionChunk, Float32, Observation


class PlanFollower:
    """Follows the plans that come, within limits; holds when none comes.

    Hold: when the last admitted plan came longer ago than `config.stale`, or reaches no
    further, the commands slow down to rest at the acceleration limit. Motion resumes by
    itself when a fresh plan is there and its action lies within `config.resume_jump` seconds
    at full speed; from further away it stays until an operator has looked and calls `resume`.

    Attributes:
        embodiment: of the commands: the policy's at the rate of the stream.
        holding: whether the last command was a hold.
        far: whether it was one only because the plan is too far away: `resume` ends that.
        chunk: the last plan admitted; None before the first.
        chunk_index: how many were admitted this episode, minus one.
        refused: how many plans were refused, by reason (see `chunking.admission`).
    """

    def __init__(
        self,
        embodiment: Embodiment,
        *,
        config: AsyncControlConfig,
        limits: MotionLimits | None = None,
    ):
        """Nothing is planned yet.

        Args:
            embodiment: the policy's.
            config: times and rates, and how plans become actions.
            limits: of the motion; None: none.

        Raises:
            ContractError: for "relative" action axes.
        """
        refuse_relative(embodiment, config.kind)
        self._policy_body, self._config = embodiment, config
        self.embodiment = at_rate(embodiment, config.hz or embodiment.hz)
        axes = embodiment.action
        self._limits = limits or MotionLimits.none(len(axes))
        self._mover = Mover(self.embodiment, self._limits)
        self._execution = config.execution.build(embodiment, hz=config.hz)
        self._delay = DelayEstimate(window=config.delay_window, quantile=config.delay_quantile)
        states = {axis.name: index for index, axis in enumerate(embodiment.state)}
        self._measured = np.array([states.get(axis.name, -1) for axis in axes], np.intp)
        self.refused: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget the last episode; the first command waits for a plan at rest."""
        self._execution.reset()
        self._delay.reset()
        self.refused.clear()
        self._begun = False
        self._admitted = -np.inf
        self.chunk: ActionChunk | None = None
        self.chunk_index = -1
        self.holding, self.far, self._agreed = True, False, False
        self._last = np.zeros(len(self._policy_body.action), np.float32)

    @property
    def row(self) -> int:
        """Row of the plan behind the last action; -1 before the first."""
        return self._execution.index

    def plan_age(self, now: float) -> float:
        """Seconds since the last plan was admitted; infinite before the first."""
        return now - self._admitted

    def accept(self, chunk: ActionChunk, *, now: float) -> str:
        """Admit a plan, or refuse it whole and count it.

        Returns:
            Why it was refused, or "".
        """
        newer_than = -np.inf if self.chunk is None else self.chunk.time
        reason = admission(
            chunk,
            embodiment=self._policy_body,
            newer_than=newer_than,
            now=now,
            max_age=self._config.max_plan_age,
        )
        if reason:
            self.refused[reason] += 1
            return reason
        self._execution.accept(chunk)
        self._delay.add(now - chunk.time)
        self.chunk, self._admitted = chunk, now
        self.chunk_index += 1
        return ""

    def tell(self, observation: Observation) -> Observation:
        """What a policy is to see: with the rest of the last plan, if it wants to be told.

        Its first rows are committed: those due before a plan from `observation` can be here.
        """
        if not self._config.execution.told:
            return observation
        committed = self._delay.rows(self._policy_body.hz, lead=self._config.action_delay)
        return tell(observation, self._execution, committed=committed)

    def resume(self) -> None:
        """An operator agrees: the next command may set out for a plan far away, within limits."""
        self._agreed = True

    def command(self, state: Float32, *, now: float) -> Float32:
        """The command (A,) float32 to send at `now`; it takes effect `action_delay` later.

        Args:
            state: float32 (S,), measured last; where the motion begins.
            now: seconds on the monotonic clock.
        """
        if not self._begun:
            self._mover.start(np.where(self._measured >= 0, state[self._measured], 0.0))
            self._begun = True
        target = self._target(now)
        self.far = False
        if target is not None and self.holding:
            reach = self._limits.speed * self._config.resume_jump
            self.far = bool((self._mover.distance(target) > reach).any()) and not self._agreed
            target = None if self.far else target
        self._agreed = False
        self.holding = target is None
        self._last = self._mover.brake() if target is None else self._mover.follow(target)
        return self._last

    def sent(self, command: Float32) -> None:
        """What was really sent: after a refusal the motion goes on from there, as from a hold."""
        if not np.array_equal(command, self._last):
            self._mover.sent(command)
            self._last, self.holding = command.copy(), True

    def _target(self, now: float) -> Float32 | None:
        if self.plan_age(now) > self._config.stale:
            return None
        return self._execution.row(now + self._config.action_delay)


class Following:
    """What a controller tells of the plan it follows.

    Attributes:
        follower: where plans become commands; tells of refusals and holds.
    """

    follower: PlanFollower

    @property
    def chunk_index(self) -> int:
        """Plans admitted this episode, minus one."""
        return self.follower.chunk_index

    @property
    def row(self) -> int:
        """Row of the plan behind the last command."""
        return self.follower.row

    @property
    def holding(self) -> bool:
        """Whether the last command was a hold for want of a plan."""
        return self.follower.holding

    @property
    def far(self) -> bool:
        """Whether it was one because the plan is too far away."""
        return self.follower.far

    def resume(self) -> None:
        """See `PlanFollower.resume`."""
        self.follower.resume()
