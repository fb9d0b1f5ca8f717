"""One episode on a robot: the rollout, a way to stop it, and the flight's figures."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from vla.contract import Controller, World
from vla.runtime.record import FlightLog, read_flight, summary
from vla.runtime.rollout import Embodied, Tick, rollout
from vla.types import Float32, Observation

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_live(
    world: World,
    controller: Controller,
    *,
    seed: int,
    log: FlightLog,
    seconds: float | None = None,
    steps: int | None = None,
    progress: Callable[[Tick], None] | None = None,
) -> dict[str, Any]:
    """Run until the world ends, the time or the steps are over, or a signal asks to stop.

    SIGINT, SIGTERM and SIGHUP end the run after the present tick; a second one at once.
    However it ends, the world is closed (a robot halts and holds) and so is the log.

    Args:
        world: closed at the end.
        controller: its plan index and row go into the log when it tells them.
        seed: of the episode.
        log: the one the world writes; closed at the end.
        seconds: of observation time after the first tick; None: no limit.
        steps: most ticks; None: no limit.
        progress: called after every tick, inside the loop: it must be quick.

    Returns:
        `record.summary` of the flight, plus reason ("ended", "time", "steps" or the signal's
        name), success and detail (the outcome's words).

    Raises:
        GateRefusal: when the safety gate latched.
        RobotError: when a device failed. Both after closing; the log is complete.
        KeyboardInterrupt: on a second signal, after closing.
    """
    noted, reason = NotedController(controller, log), "steps"
    last: Tick | None = None
    begin = 0.0
    try:
        with stop_signals() as received:
            for tick in rollout(world, noted, seed=seed, max_steps=steps):
                begin = tick.observation.time if last is None else begin
                last = tick
                if progress is not None:
                    progress(tick)
                if received:
                    reason = signal.Signals(received[0]).name
                    break
                if tick.outcome.ended:
                    reason = "ended"
                elif seconds is not None and tick.next_observation.time - begin >= seconds:
                    reason = "time"
                    break
    finally:
        world.close()
        log.close()
    figures = summary(read_flight(log.path))
    return {
        **figures,
        "reason": reason,
        "success": bool(last is not None and last.outcome.success),
        "detail": last.outcome.reason if last is not None else "",
    }


@runtime_checkable
class Planned(Protocol):
    """A controller that tells which plan and row its last action came from."""

    chunk_index: int
    row: int


class NotedController:
    """Passes everything through, and notes plan and row for the next record of the log."""

    def __init__(self, controller: Controller, log: FlightLog):
        self._controller, self._log = controller, log
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
        return action


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect stop signals in a list; the second one raises KeyboardInterrupt.

    Outside the main thread Python delivers no signals, and the list stays empty.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in STOPS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
