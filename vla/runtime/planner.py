"""The planning process: newest observation in, plan out, for as long as its keeper lives.

It alone imports the policy's libraries. Whatever happens here, an exception, a stall, a crash,
reaches the control loop as the absence of fresh plans.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError, VlaError
from vla.runtime.controller import chunk_seed, stack_history
from vla.runtime.execution_config import ExecutionConfig
from vla.runtime.plan_slots import RING, PlanSlots, last_words
from vla.types import Observation

PolicyFactory = Callable[[], tuple[Policy, str]]
"""Loads a policy; returns it with the SHA-256 of its weights."""


@dataclass(frozen=True, slots=True)
class WrappedFactory:
    """Loads a policy and wraps it as a method of execution wants it."""

    inner: PolicyFactory
    execution: ExecutionConfig

    def __call__(self) -> tuple[Policy, str]:
        """See `PolicyFactory`; the hash is that of the inner weights."""
        policy, weights = self.inner()
        return self.execution.wrap(policy), weights


POLL = 0.0005
"""Seconds between two looks for a new observation."""
WARM_UP = 3
"""Plans made before the clock matters: the first ones of a process are slow."""


def warm_up(policy: Policy) -> int:
    """Plan on blank pictures, so that the first real plan does not pay for lazy set-up.

    Returns:
        The rows H of the plans.
    """
    body = policy.embodiment
    blank = Observation(
        images={
            name: np.zeros((policy.history, camera.height, camera.width, 3), np.uint8)
            for name, camera in body.cameras.items()
        },
        state=np.zeros((policy.history, len(body.state)), np.float32),
        instruction="",
        time=0.0,
    )
    plans = [policy.act([blank], seeds=[0]) for _ in range(WARM_UP)]
    return len(plans[-1][0].actions)


def plan_for_ever(
    factory: PolicyFactory, body: dict, names: list[str], interval: float, first: int
) -> None:
    """Body of the process.

    Args:
        factory: see `PolicyFactory`.
        body: JSON of the embodiment that observations and plans have.
        names: of the shared records.
        interval: seconds between the observations of two plans, at least.
        first: number of the first plan; a process that replaces another counts on.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # they reach the whole group; the loop decides
        signal.signal(number, signal.SIG_IGN)
    keeper = os.getppid()
    slots = PlanSlots.open(Embodiment.from_json(body), names)
    try:
        for slot in (slots.status, slots.plan):
            slot.repair()
        slots.status.write(pid=os.getpid(), ready=False, beat=time.monotonic(), error=b"")
        _end_with(keeper)
        policy, weights = factory()
        policy.embodiment.require(slots.body, mine="policy", theirs="robot")
        if policy.history >= RING:
            raise ConfigError(
                f"The policy looks at {policy.history} steps; control=async keeps {RING - 1}."
            )
        rows = warm_up(policy)
        slots.status.write(
            ready=True,
            beat=time.monotonic(),
            history=policy.history,
            rows=rows,
            weights=weights.encode(),
        )
        _Planner(policy, weights, slots, interval, first).run(lambda: os.getppid() == keeper)
    except VlaError as error:
        slots.status.write(error=last_words(error), beat=time.monotonic())
        raise SystemExit(3) from error
    finally:
        slots.close()


class _Planner:
    """Plans for the newest observation, again and again."""

    def __init__(self, policy: Policy, weights: str, slots: PlanSlots, interval: float, first: int):
        self._policy, self._weights, self._slots = policy, weights, slots
        self._interval, self._number = interval, first
        self._episode, self._index, self._seen = 0, -1, -np.inf
        self._published = 0

    def run(self, wanted: Callable[[], bool]) -> None:
        """Loop while `wanted()`."""
        failures = 0
        while wanted():
            try:
                busy = self._plan_once()
            except VlaError as error:  # this observation is lost; the next may be better
                failures += 1
                self._slots.status.write(failures=failures, error=last_words(error))
                busy = False
            self._slots.status.write(beat=time.monotonic(), planned=self._number)
            if not busy:
                time.sleep(POLL)

    def _plan_once(self) -> bool:
        """Plan, if there is something new to plan for."""
        newest = self._slots.newest()
        if newest is None:
            return False
        episode, seen = int(newest["episode"]), float(newest["time"])
        if episode == self._episode and seen < self._seen + self._interval - 1e-4:
            return False
        if episode != self._episode:
            self._index = -1
        elif newest["heard"] < self._published:
            return False  # it tells of a plan that is followed no longer, or of none
        self._episode, self._seen = episode, seen
        observations = self._slots.recent(self._policy.history)
        observation = stack_history(observations, steps=self._policy.history)
        self._index += 1
        seed = chunk_seed(int(newest["seed"]), self._index)
        (chunk,) = self._policy.act([observation], seeds=[seed])
        self._slots.publish(
            chunk,
            number=self._number,
            episode=episode,
            published=time.monotonic(),
            weights=self._weights,
        )
        self._published, self._number = self._number, self._number + 1
        return True


def _end_with(keeper: int) -> None:
    """End this process when its keeper is gone, even from within a plan that never ends."""

    def watch() -> None:
        while os.getppid() == keeper:
            time.sleep(0.5)
        os._exit(4)

    threading.Thread(target=watch, name="orphan-watch", daemon=True).start()
