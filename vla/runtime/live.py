"""One episode on a robot: the rollout, a way to stop it, and the flight's figures."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from vla.contract import Controller, World
from vla.errors import GateRefusal
from vla.runtime.flight_figures import summary
from vla.runtime.plan_log import PlanLog, plan_path
from vla.runtime.priority import steady
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.rollout import Embodied, Tick, rollout
from vla.types import ActionChunk, Float32, Observation

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 1.0
"""Seconds after a stop signal in which others change nothing: a robot is coming to rest."""


def run_live(
    world: World,
    controller: Controller,
    *,
    seed: int,
    log: FlightLog,
    seconds: float | None = None,
    steps: int | None = None,
    progress: Callable[[Tick], None] | None = None,
    brake: Callable[[], None] | None = None,
    priority: int = 0,
) -> dict[str, Any]:
    """Run until the world ends, the time or the steps are over, or a signal asks to stop.

    SIGINT, SIGTERM and SIGHUP end the run: with `brake` once the robot has come to rest,
    without after the present tick. Another signal within `PATIENCE` changes nothing: people hit
    Ctrl-C twice, and braking takes less. A later one ends it at once. However it ends, the world
    is closed (a robot halts and holds) and so is the log.

    Args:
        world: closed at the end.
        controller: its plan index and row go into the log when it tells them.
        seed: of the episode.
        log: the one the world writes; closed at the end.
        seconds: of observation time after the first tick; None: no limit.
        steps: most ticks; None: no limit.
        progress: called after every tick, inside the loop: it must be quick.
        brake: latches the world's gate, so that it slows down and then refuses.
        priority: real-time priority of the loop (see `priority.steady`); 0: none.

    Returns:
        `flight_figures.summary`, plus reason ("ended", "time", "steps" or the signal's name),
        success, detail (the outcome's words) and scheduler (what was obtained).

    Raises:
        GateRefusal: when the safety gate latched.
        RobotError: when a device failed. Both after closing; the log is complete.
        KeyboardInterrupt: on a signal that comes later than that, after closing.
    """
    plans = PlanLog(plan_path(log.path))
    noted, reason = NotedController(controller, log, plans), "steps"
    last: Tick | None = None
    begin = 0.0
    try:
        with stop_signals() as received, steady(priority) as scheduler:
            try:
                for tick in rollout(world, noted, seed=seed, max_steps=steps):
                    begin = tick.observation.time if last is None else begin
                    last = tick
                    if progress is not None:
                        progress(tick)
                    if received:
                        reason = signal.Signals(received[0]).name
                        if brake is None:
                            break
                        brake()
                    elif tick.outcome.ended:
                        reason = "ended"
                    elif seconds is not None and tick.next_observation.time - begin >= seconds:
                        reason = "time"
                        break
            except GateRefusal:
                if not (received and brake is not None):  # then it is what was asked for
                    raise
    finally:
        world.close()
        log.close()
        plans.close()
    figures = summary(read_flight(log.path))
    return {
        **figures,
        "reason": reason,
        "scheduler": scheduler,
        "success": bool(last is not None and last.outcome.success),
        "detail": last.outcome.reason if last is not None else "",
    }


@runtime_checkable
class Planned(Protocol):
    """A controller that tells which plan and row its last action came from."""

    chunk_index: int
    row: int
    chunk: ActionChunk | None


@runtime_checkable
class Timed(Protocol):
    """A controller that tells which time its last command was made for."""

    due: float


class NotedController:
    """Passes everything through; notes plan, row and time in the log, and new plans beside it."""

    def __init__(self, controller: Controller, log: FlightLog, plans: PlanLog):
        self._controller, self._log, self._plans = controller, log, plans
        self._written: ActionChunk | None = None
        if isinstance(controller, Embodied):
            self.embodiment = controller.embodiment

    def reset(self, *, seed: int) -> None:
        """Forget the last episode."""
        self._controller.reset(seed=seed)

    def __call__(self, observation: Observation) -> Float32:
        """The wrapped controller's action."""
        action = self._controller(observation)
        if isinstance(self._controller, Planned):
            self._log.note(chunk=self._controller.chunk_index, row=self._controller.row)
            chunk = self._controller.chunk
            if chunk is not None and chunk is not self._written:
                self._plans.append(self._controller.chunk_index, chunk)
                self._written = chunk
        if isinstance(self._controller, Timed):
            self._log.note(due=self._controller.due)
        return action


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect stop signals in a list; one after `PATIENCE` raises KeyboardInterrupt.

    Outside the main thread Python delivers no signals, and the list stays empty.
    """
    received: list[int] = []
    first = math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        received.append(number)
        now = time.monotonic()
        if now - first > PATIENCE:
            raise KeyboardInterrupt
        first = min(first, now)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in STOPS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
