"""Real-time scheduling, where the system grants it; what was obtained is always told."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


def take_priority(level: int) -> str:
    """Ask for real-time scheduling (SCHED_FIFO) of this thread at `level` (1 to 99).

    Threads and processes started later inherit it. It needs root, CAP_SYS_NICE or an
    rtprio limit (Linux).

    Returns:
        "real-time <level>", or "normal" when it was refused or `level` is 0: show and log it.
    """
    if level == 0 or not hasattr(os, "sched_setscheduler"):
        return "normal"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
    except PermissionError:
        return "normal"
    return f"real-time {level}"


@contextmanager
def steady(level: int) -> Iterator[str]:
    """Real-time scheduling and no garbage collection inside; both as before afterwards.

    A collection walks every object alive and takes tens of milliseconds in a process with
    large libraries. What is alive on entering is set aside, so that leaving is cheap as well.
    Cyclic garbage made inside waits until then; the loop itself makes none.

    Args:
        level: see `take_priority`; 0: normal scheduling.

    Yields:
        What was obtained.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield "normal"
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield take_priority(level)
    finally:
        if level:
            os.sched_setscheduler(0, *before)
        gc.unfreeze()
        if collecting:
            gc.enable()
