"""Synchronous control: all memory of an episode lives here, the policy stays a pure function."""

from collections import deque

import numpy as np

from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ContractError, ShapeError, UnknownChoice
from vla.runtime.config import ControlConfig
from vla.runtime.telling import tell
from vla.types import ActionChunk, Float32, Observation


class ChunkController:
    """Synchronous chunk execution: asks for a plan, runs `execute` rows of it, asks again.

    A policy that is told of its last plan is told of all that is left of it as tentative:
    nothing is committed while the loop waits.

    A row that is not finite is passed on as it is, unshaped: clipping would turn an
    infinity into a command that looks legal. Worlds and the safety gate refuse it, and
    their log shows what the policy said.

    Attributes:
        embodiment: the policy's.
        chunk_index: how many plans this episode has had, minus one; -1 before the first.
        row: row of the current plan that the last call returned; -1 before the first.
        chunk: the current plan; None before the first.
    """

    def __init__(self, policy: Policy, *, config: ControlConfig):
        """Drive `policy`, which `config.execution` has wrapped already where it wants to.

        Raises:
            ContractError: for "relative" action axes, which need the chunk's first state.
            UnknownChoice: when a rate limit names an axis that does not exist.
        """
        self.embodiment = policy.embodiment
        refuse_relative(self.embodiment, config.kind)
        self._policy = policy
        self._execution = config.execution.build(self.embodiment)
        self._rows, self._told = config.execute, config.execution.told
        self._shaper = Shaper(self.embodiment, rate_limits=config.rate_limits)
        self._history: deque[Observation] = deque(maxlen=policy.history)
        self.reset(seed=0)

    def reset(self, *, seed: int) -> None:
        """Forget the last episode; `seed` (not negative) decides the randomness of every plan."""
        self._seed = seed
        self.chunk: ActionChunk | None = None
        self._execution.reset()
        self._history.clear()
        self._shaper.reset()
        self.chunk_index = -1
        self.row = -1

    def __call__(self, observation: Observation) -> Float32:
        """The action (A,) float32 due at `observation.time`; plans anew when it must.

        Raises:
            ShapeError: for an observation with T != 1, or a plan with the wrong number of axes.
            ContractError: when `observation.time` lies before the plan's.
        """
        check_one_step(observation)
        self._history.append(observation)
        action = None
        if not self.is_due(observation.time):
            action = self._execution.row(observation.time)
        if action is None:
            self.chunk = self._plan()
            self._execution.accept(self.chunk)
            action = self._execution.row(self.chunk.time)
        self.row = self._execution.index
        return self._shaper.shape(action, observation)

    def is_due(self, time: float) -> bool:
        """Whether a call at `time` will ask for a plan: none yet, `execute` rows old, or ended."""
        if self.chunk is None:
            return True
        age = round((time - self.chunk.time) * self.embodiment.hz)
        return age >= min(self._rows, len(self.chunk.actions))

    def _plan(self) -> ActionChunk:
        """Ask the policy once, with the stacked history and the plan's own seed."""
        self.chunk_index += 1
        observation = stack_history(list(self._history), steps=self._policy.history)
        if self._told:
            observation = tell(observation, self._execution, committed=0)
        seed = chunk_seed(self._seed, self.chunk_index)
        (chunk,) = self._policy.act([observation], seeds=[seed])
        axes = len(self.embodiment.action)
        if chunk.actions.shape[1] != axes:
            raise ShapeError(
                f"The policy planned {chunk.actions.shape[1]} axes; "
                f"{self.embodiment.name!r} has {axes}."
            )
        return chunk


def check_one_step(observation: Observation) -> None:
    """Raise ShapeError unless T is 1."""
    if len(observation.state) != 1:
        raise ShapeError(
            f"A controller takes one observation step per tick, not {len(observation.state)}; "
            "it keeps the history itself."
        )


def refuse_relative(embodiment: Embodiment, kind: str) -> None:
    """Raise ContractError for "relative" action axes, which need the chunk's first state."""
    relative = [axis.name for axis in embodiment.action if axis.mode == "relative"]
    if relative:
        raise ContractError(
            f"Action axes {relative} are relative to the chunk's first state; the {kind!r} "
            "controller sends absolute and delta axes only. Convert the data to one of those."
        )


class Shaper:
    """Bounds a command the same way in simulation and on hardware: axis bounds, then rate.

    The rate limit bounds the change of a command between ticks, in axis units per second:
    the speed of an absolute axis, the change of speed of a delta axis.
    """

    def __init__(self, embodiment: Embodiment, *, rate_limits: dict[str, float]):
        """Raises UnknownChoice when `rate_limits` names an axis that `embodiment` lacks."""
        names = [axis.name for axis in embodiment.action]
        for name in rate_limits:
            if name not in names:
                raise UnknownChoice("action axis in control.rate_limits:", name, names)
        self._low = np.array([axis.low for axis in embodiment.action], np.float32)
        self._high = np.array([axis.high for axis in embodiment.action], np.float32)
        self._hz = embodiment.hz
        rates = [rate_limits.get(axis.name, np.inf) for axis in embodiment.action]
        self._step = np.array(rates, np.float64) / embodiment.hz
        states = {axis.name: index for index, axis in enumerate(embodiment.state)}
        self._origin = [  # where each axis starts from: delta axes at rest, others as measured
            None if axis.mode == "delta" else states.get(axis.name, -1)
            for axis in embodiment.action
        ]
        self.reset()

    def reset(self) -> None:
        """Forget the last command."""
        self._last: Float32 | None = None
        self._last_time = 0.0

    def shape(self, action: Float32, observation: Observation) -> Float32:
        """Bounded copy of `action` (A,), or an unchanged copy when any entry is not finite."""
        if not np.isfinite(action).all():
            return action.copy()
        shaped = np.clip(action, self._low, self._high)
        if np.isfinite(self._step).any():
            last, slots = self._last, 1
            if last is None:
                last = self._start(shaped, observation)
            else:
                slots = max(1, round((observation.time - self._last_time) * self._hz))
            shaped = np.clip(shaped, last - self._step * slots, last + self._step * slots)
            shaped = np.clip(shaped.astype(np.float32), self._low, self._high)
        self._last, self._last_time = shaped, observation.time
        return shaped

    def _start(self, action: Float32, observation: Observation) -> Float32:
        """The command that "was sent" before the first one; unknown axes start anywhere."""
        start = action.copy()
        for index, origin in enumerate(self._origin):
            if origin is None:
                start[index] = 0.0
            elif origin >= 0:
                start[index] = observation.state[-1, origin]
        return start


def chunk_seed(episode_seed: int, chunk_index: int) -> int:
    """Seed of one plan: a hash of (episode, plan), so that plans are unrelated and repeatable."""
    state = np.random.SeedSequence([episode_seed, chunk_index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))  # fits a signed 64-bit integer


def stack_history(observations: list[Observation], *, steps: int) -> Observation:
    """The last `steps` observations (T == 1 each) as one with T == `steps`, newest last.

    An episode that is younger than `steps` is padded with its first observation.
    """
    newest = observations[-1]
    if steps == 1:
        return newest
    padded = [observations[0]] * (steps - len(observations)) + observations[-steps:]
    return Observation(
        images={key: np.concatenate([o.images[key] for o in padded]) for key in newest.images},
        state=np.concatenate([o.state for o in padded]),
        instruction=newest.instruction,
        time=newest.time,
        depth={key: np.concatenate([o.depth[key] for o in padded]) for key in newest.depth},
        pending=newest.pending,
        tentative=newest.tentative,
    )
