"""Faults on purpose, the same in simulation and on a robot: to see that the rules hold.

A fault begins at a time after the first plan, in the planning process, where it also happens
by itself. The control loop is not told.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError, ServingError
from vla.types import ActionChunk, Observation


@dataclass(kw_only=True, slots=True)
class FaultConfig:
    """What goes wrong, and when; seconds after the first plan, negative: never.

    Attributes:
        nan_at: plans hold NaN from then on.
        jump_at: plans jump by `jump` times the width of their axes from then on.
        jump: see `jump_at`.
        error_at: planning raises an error from then on.
        stall_at, stall: planning takes `stall` seconds, once.
        slow_at, slow: every plan takes `slow` seconds longer from then on.
        crash_at: the process ends, once per process.
        lasts: seconds after which the faults that go "from then on" are over again; 0: never.
        drop: share of the plans that never arrive, at random.
    """

    nan_at: float = -1.0
    jump_at: float = -1.0
    jump: float = 5.0
    error_at: float = -1.0
    stall_at: float = -1.0
    stall: float = 1.0
    slow_at: float = -1.0
    slow: float = 0.5
    crash_at: float = -1.0
    lasts: float = 0.0  # JSON, in which logs and stores keep this, has no infinity
    drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise ConfigError(f"faults.drop is {self.drop}; give a share from 0 to below 1.")
        if not (self.lasts >= 0 and math.isfinite(self.lasts)):
            raise ConfigError(f"faults.lasts is {self.lasts}; give seconds, or 0 for no end.")
        for name in ("jump", "stall", "slow"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"faults.{name} is {getattr(self, name)}; it must be positive.")

    @property
    def any(self) -> bool:
        """Whether anything goes wrong at all."""
        times = (self.nan_at, self.jump_at, self.error_at, self.stall_at, self.slow_at)
        return self.drop > 0 or self.crash_at >= 0 or any(time >= 0 for time in times)

    def wrap(self, factory: Callable[[], tuple[Policy, str]]) -> Callable[[], tuple[Policy, str]]:
        """`factory` as it is, or one whose policy has these faults; picklable when it is."""
        return FaultyFactory(factory, self) if self.any else factory


@dataclass(slots=True)
class FaultyFactory:
    """Loads a policy and puts the faults around it."""

    factory: Callable[[], tuple[Policy, str]]
    faults: FaultConfig

    def __call__(self) -> tuple[Policy, str]:
        """See `planner.PolicyFactory`."""
        policy, weights = self.factory()
        return FaultyPolicy(policy, self.faults), weights


class FaultyPolicy:
    """Wraps a policy. No pure function any more: its faults go by the clock."""

    def __init__(self, policy: Policy, faults: FaultConfig):
        self.embodiment: Embodiment = policy.embodiment
        self.history: int = policy.history
        self._policy, self._faults = policy, faults
        self._random = np.random.default_rng(0)
        self._begin = math.inf
        self._stalled = False

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """The wrapped policy's plans, or what the faults make of them.

        Raises:
            ServingError: for `error_at`, and for a plan that is dropped.
        """
        faults = self._faults
        blank = observations[0].time == 0.0  # warming up; the monotonic clock is past that
        if not blank:
            self._begin = min(self._begin, time.monotonic())
        if self._due(faults.crash_at):
            os._exit(70)
        if self._due(faults.error_at):
            raise ServingError("A fault was asked for (faults.error_at).")
        if self._due(faults.stall_at) and not self._stalled:
            self._stalled = True
            time.sleep(faults.stall)
        if self._due(faults.slow_at):
            time.sleep(faults.slow)
        chunks = self._policy.act(observations, seeds=seeds)
        if not blank and self._random.random() < faults.drop:
            raise ServingError("A plan was dropped on purpose (faults.drop).")
        if self._due(faults.nan_at):
            chunks = [_with(chunk, chunk.actions * np.float32(np.nan)) for chunk in chunks]
        if self._due(faults.jump_at):
            width = np.array([axis.high - axis.low for axis in self.embodiment.action])
            far = (faults.jump * width).astype(np.float32)
            chunks = [_with(chunk, chunk.actions + far) for chunk in chunks]
        return chunks

    def _due(self, at: float) -> bool:
        since = time.monotonic() - self._begin
        return at >= 0 and at <= since < at + (self._faults.lasts or math.inf)


def _with(chunk: ActionChunk, actions: np.ndarray) -> ActionChunk:
    return ActionChunk(actions=actions, time=chunk.time)
