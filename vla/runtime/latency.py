"""Policies that take their time, on the clock of a simulation.

A simulated world stands still while a policy plans, so an evaluation says nothing of what a
slow policy costs. Here each plan is handed over as many seconds of simulated time later as it
would take, and meanwhile the world goes on. The code that decides what is sent is that of the
robot: `ChunkController` and `PlanFollower`. The delays depend on the episode's seed alone.
"""

from collections import deque
from dataclasses import replace

import numpy as np

from vla.contract import Policy
from vla.errors import ConfigError
from vla.runtime.config import AsyncControlConfig, ControlConfig, LatencyConfig
from vla.runtime.controller import ChunkController, check_one_step, chunk_seed, stack_history
from vla.runtime.follower import Following, PlanFollower
from vla.runtime.motion import MotionLimits, Mover
from vla.types import ActionChunk, Float32, Observation

SLACK = 1e-6
"""Seconds by which simulated clocks may round."""


class Delays:
    """How long each plan of an episode takes, and whether it arrives."""

    def __init__(self, config: LatencyConfig):
        self._config = config
        self.reset(seed=0)

    def reset(self, *, seed: int) -> None:
        """Begin an episode; the plans' own seeds have nothing to do with these."""
        self._random = np.random.default_rng(np.random.SeedSequence([seed, 0x1A7E]))

    def draw(self) -> tuple[float, bool]:
        """Seconds that the next plan takes, and whether it is lost then."""
        tail, luck = self._random.exponential(), self._random.random()
        return self._config.seconds + self._config.jitter * tail, luck < self._config.drop


class StopAndGo:
    """The synchronous controller while planning takes time: the arm waits, then goes on.

    A plan's rows begin when it is there; what it was planned from is as old as planning took.
    A lost plan is asked for again from the same observation. (A live `control=sync` does not
    wait so politely: rows whose slots passed while it was planning are dropped.)
    """

    def __init__(self, policy: Policy, *, config: ControlConfig):
        """See `ChunkController`."""
        self._inner = ChunkController(policy, config=config)
        self.embodiment = self._inner.embodiment
        self._mover = Mover(self.embodiment, MotionLimits.none(len(self.embodiment.action)))
        states = {axis.name: index for index, axis in enumerate(self.embodiment.state)}
        names = [axis.name for axis in self.embodiment.action]
        self._measured = np.array([states.get(name, -1) for name in names], np.intp)
        self._delays = Delays(config.latency)
        self.reset(seed=0)

    def reset(self, *, seed: int) -> None:
        """Forget the last episode."""
        self._inner.reset(seed=seed)
        self._delays.reset(seed=seed)
        self._asked: Observation | None = None
        self._ready, self._begun, self.holding = 0.0, False, False

    @property
    def chunk_index(self) -> int:
        """Plans in this episode, minus one."""
        return self._inner.chunk_index

    @property
    def row(self) -> int:
        """Row of the plan behind the last command that was none of waiting."""
        return self._inner.row

    def __call__(self, observation: Observation) -> Float32:
        """The action (A,) float32 due at `observation.time`; see `ChunkController`."""
        now = observation.time
        if not self._begun:
            state = observation.state[-1]
            self._mover.start(np.where(self._measured >= 0, state[self._measured], 0.0))
            self._begun = True
        if self._asked is None and self._inner.is_due(now):
            self._asked, self._ready = observation, now + self._wait()
        self.holding = self._asked is not None and now < self._ready - SLACK
        if self.holding:
            return self._mover.brake()
        if self._asked is not None:
            observation, self._asked = replace(self._asked, time=now), None
        action = self._inner(observation)
        if np.isfinite(action).all():
            self._mover.sent(action)
        return action

    def _wait(self) -> float:
        """Seconds until a plan is there, with those that are lost on the way."""
        total, lost = self._delays.draw()
        while lost:
            seconds, lost = self._delays.draw()
            total += seconds
        return total


class VirtualAsync(Following):
    """The asynchronous controller with a planner on the clock of the observations.

    The planner takes the newest observation as soon as it is free, or `config.execute` rows
    after the last one; its plan is shown to `PlanFollower` at the first tick after its delay.

    Attributes:
        embodiment: the policy's.
        follower: where plans become commands; tells of refusals and holds.
    """

    def __init__(self, policy: Policy, *, config: AsyncControlConfig):
        """Drive `policy`, which `config.execution` has wrapped already where it wants to.

        Raises:
            ConfigError: for a stream at another rate than the world's ticks.
        """
        self.embodiment = policy.embodiment
        if config.hz not in (0.0, self.embodiment.hz):
            raise ConfigError(
                f"control.hz is {config.hz}; a simulated world ticks at {self.embodiment.hz} Hz. "
                "Leave control.hz out."
            )
        self.follower = PlanFollower(self.embodiment, config=config)
        self._policy = policy
        self._interval = config.execute / self.embodiment.hz if config.execute > 1 else 0.0
        self._history: deque[Observation] = deque(maxlen=policy.history)
        self._delays = Delays(config.latency)
        self.reset(seed=0)

    def reset(self, *, seed: int) -> None:
        """Forget the last episode; `seed` decides plans and delays."""
        self.follower.reset()
        self._delays.reset(seed=seed)
        self._history.clear()
        self._seed, self._index = seed, -1
        self._asked, self._ready = -np.inf, -np.inf
        self._plan: ActionChunk | None = None

    def __call__(self, observation: Observation) -> Float32:
        """The command (A,) float32 due at `observation.time`. Raises ShapeError for T != 1."""
        check_one_step(observation)
        now = observation.time
        self._history.append(observation)
        self._hand_over(now)
        free = now >= self._ready - SLACK
        if free and now >= self._asked + self._interval - SLACK:
            self._ask(now)
            self._hand_over(now)
        return self.follower.command(observation.state[-1], now=now)

    def _hand_over(self, now: float) -> None:
        """Show the follower the plan that is there by now."""
        if self._plan is not None and now >= self._ready - SLACK:
            self.follower.accept(self._plan, now=now)
            self._plan = None

    def _ask(self, now: float) -> None:
        """Plan from the newest observation; who waits for the answer does not know it yet."""
        self._index += 1
        observation = stack_history(list(self._history), steps=self._policy.history)
        told = self.follower.tell(observation)
        seconds, lost = self._delays.draw()
        seed = chunk_seed(self._seed, self._index)
        self._asked, self._ready = now, now + seconds
        (plan,) = self._policy.act([told], seeds=[seed])
        self._plan = None if lost else plan
