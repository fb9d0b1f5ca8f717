"""The keeper: starts the planning process, and replaces it when it dies or hangs.

It is a process of its own, so that the control loop never pays for starting one. It restarts
planning and nothing else: it has no way to a robot.
"""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection

from vla.embodiment import Embodiment
from vla.runtime.plan_slots import PlanSlots
from vla.runtime.planner import PolicyFactory, plan_for_ever

LOOK = 0.02
"""Seconds between two looks at the planner."""
PAUSES = (0.0, 0.5, 2.0, 10.0)
"""Seconds to wait before the first, second, ... restart in a row; the last for all others."""
HEALTHY = 30.0
"""A planner that lived so long, in seconds, was no failure in a row."""
AFTER_CRASH = 1_000_000
"""Plan numbers left free per restart, so that a number never comes twice."""


def keep_planning(
    pipe: Connection,
    factory: PolicyFactory,
    body: dict,
    names: list[str],
    interval: float,
    hang: float,
) -> None:
    """Body of the process; ends when the control process hangs up or is gone.

    Args:
        pipe: receives the number of starts after each; its end is the end of this process.
        factory: see `planner.PolicyFactory`.
        body: JSON of the embodiment that observations and plans have.
        names: of the shared records.
        interval: seconds between the observations of two plans, at least.
        hang: seconds without a sign of life after which a planner that was ready is killed.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    control = os.getppid()
    slots = PlanSlots.open(Embodiment.from_json(body), names)
    context = multiprocessing.get_context("spawn")
    starts = failures = 0
    planner = None
    try:
        while os.getppid() == control and not pipe.closed:
            if planner is None:
                time.sleep(PAUSES[min(failures, len(PAUSES) - 1)] if starts else 0.0)
                first = 1 + starts * AFTER_CRASH
                planner = context.Process(
                    target=plan_for_ever,
                    args=(factory, body, names, interval, first),
                    name="planner",
                )
                planner.start()
                starts, begun = starts + 1, time.monotonic()
                pipe.send(starts)
            if pipe.poll(LOOK):
                return  # the only word from there is the end of the line
            if planner.is_alive() and _hangs(slots, planner.pid, hang):
                planner.kill()
            if not planner.is_alive():
                planner.join()
                failures = 0 if time.monotonic() - begun > HEALTHY else failures + 1
                planner = None
    except (EOFError, BrokenPipeError):
        return
    finally:
        if planner is not None:
            planner.kill()  # also one that is stopped, or deep in a library
            planner.join()
        slots.close()


def _hangs(slots: PlanSlots, pid: int | None, hang: float) -> bool:
    status = slots.status.peek()
    return bool(
        status is not None
        and status["pid"] == pid
        and status["ready"]
        and time.monotonic() - status["beat"] > hang
    )
