"""Asynchronous control: a Controller that never waits for its policy.

    control process                         keeper ──starts, replaces──▶ planner (torch)
      AsyncController ──observations──▶ shared memory ──────────────────────▶  │
             ▲───────────────────────── shared memory ◀──────plans─────────────┘

A tick costs two copies and some arithmetic, whatever the planner does. The rules for plans
that are late, bad or absent are `PlanFollower`'s.
"""

import multiprocessing
import time
from collections.abc import Callable

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import RobotError
from vla.runtime.child import end_child
from vla.runtime.config import AsyncControlConfig
from vla.runtime.controller import check_one_step
from vla.runtime.follower import Following, PlanFollower
from vla.runtime.keeper import keep_planning
from vla.runtime.motion import MotionLimits
from vla.runtime.plan_slots import UNTOLD, PlanSlots, short_hash
from vla.runtime.planner import PolicyFactory
from vla.types import ActionChunk, Float32, Observation


class AsyncController(Following):
    """Implements Controller; owns the planning process. Close it when done.

    Attributes:
        embodiment: of the commands (see `PlanFollower`).
        weights: SHA-256 of the policy's weights.
        due: the time that the last command was made for; the flight log keeps it.
    """

    def __init__(
        self,
        factory: PolicyFactory,
        embodiment: Embodiment,
        *,
        config: AsyncControlConfig,
        limits: MotionLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start the processes and wait until the policy is loaded and warm.

        Raises:
            RobotError: when that fails or takes longer than `config.start_timeout`.
        """
        self.follower = PlanFollower(embodiment, config=config, limits=limits)
        self.embodiment = self.follower.embodiment
        self._told = config.execution.told
        self._clock, self._contract = clock, short_hash(embodiment.hash)
        self._slots = PlanSlots.open(embodiment)
        self._number = self._episode = self._seed = self._seen = self._last_id = 0
        self.due, self._begun = 0.0, 0
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        interval = config.execute / embodiment.hz if config.execute > 1 else 0.0
        body, names = embodiment.to_json(), self._slots.names
        self._keeper = context.Process(
            target=keep_planning,
            args=(theirs, factory, body, names, interval, config.hang),
            name="keeper",
        )
        self._keeper.start()
        theirs.close()
        try:
            status = self._await_policy(config.start_timeout)
        except RobotError:
            self.close()
            raise
        self.weights = bytes(status["weights"]).decode()
        self._weights = short_hash(self.weights)

    def reset(self, *, seed: int) -> None:
        """Forget the last episode; plans made for it are not used any more."""
        self.follower.reset()
        self._episode += 1
        self._seed = seed

    def __call__(self, observation: Observation) -> Float32:
        """The command (A,) float32 due now. Raises ShapeError for more than one step."""
        check_one_step(observation)
        self._number += 1
        self.due = self._clock()
        self._take_plan(self.due)  # first: the observation tells of the plan that is followed
        self._slots.show(
            self.follower.tell(observation),
            number=self._number,
            episode=self._episode,
            seed=self._seed,
            heard=self._last_id if self._told else UNTOLD,
        )
        return self.follower.command(observation.state[-1], now=self.due)

    @property
    def chunk(self) -> ActionChunk | None:
        """The plan in use."""
        return self.follower.chunk

    def plan_age(self, now: float) -> float:
        """Seconds since the last plan was admitted."""
        return self.follower.plan_age(now)

    def sent(self, command: Float32) -> None:
        """See `PlanFollower.sent`."""
        self.follower.sent(command)

    @property
    def refused(self) -> dict[str, int]:
        """Plans refused in this episode, by reason."""
        return dict(self.follower.refused)

    def last_error(self) -> str:
        """What the planner said last when something went wrong; "" when nothing did."""
        status = self._slots.status.peek()
        return bytes(status["error"]).decode(errors="replace") if status is not None else ""

    @property
    def planner_pid(self) -> int:
        """Process id of the planner; 0 before the first."""
        status = self._slots.status.peek()
        return int(status["pid"]) if status is not None else 0

    def close(self) -> None:
        """End the processes and free the shared memory; idempotent."""
        end_child(self._pipe, self._keeper, patience=5.0)
        self._slots.close()

    def _take_plan(self, now: float) -> None:
        """Admit the newest plan, if there is one that belongs to this episode and contract."""
        if self._slots.plan.sequence == self._seen:
            return
        record = self._slots.plan.peek()
        if record is None or record["id"] <= self._last_id:
            return
        self._seen, self._last_id = int(record["seq"]), int(record["id"])
        if record["episode"] != self._episode:
            return
        refused = self.follower.refused
        if record["contract"] != self._contract or record["weights"] != self._weights:
            refused["foreign"] += 1
            return
        actions = np.array(record["actions"][: record["rows"]], np.float32)
        self.follower.accept(ActionChunk(actions=actions, time=float(record["time"])), now=now)

    def _await_policy(self, timeout: float) -> np.void:
        """The status of a planner that is ready. Raises RobotError otherwise."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self._keeper.is_alive():
            status = self._slots.status.peek()
            if status is not None and status["ready"]:
                return status
            if status is not None and status["error"]:
                raise RobotError(f"The policy cannot be loaded: {self.last_error()}")
            starts = self._starts()
            if starts > 2:
                raise RobotError(
                    "The planning process died twice while loading the policy; its own message "
                    "is on the standard error output."
                )
            time.sleep(0.01)
        raise RobotError(f"The policy was not loaded within {timeout:.0f} s.")

    def _starts(self) -> int:
        """How many planners the keeper has started so far."""
        while self._pipe.poll():
            self._begun = int(self._pipe.recv())
        return self._begun
