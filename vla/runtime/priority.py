"""Real-time scheduling, where the system grants it; what was obtained is always told."""

import os


def take_priority(level: int) -> str:
    """Ask for round-robin real-time scheduling of this process at `level` (1 to 99).

    Threads and processes started later inherit it. It needs root, CAP_SYS_NICE or an
    rtprio limit (Linux).

    Returns:
        "real-time <level>", or "normal" when it was refused or `level` is 0: show and log it.
    """
    if level == 0 or not hasattr(os, "sched_setscheduler"):
        return "normal"
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(level))
    except PermissionError:
        return "normal"
    return f"real-time {level}"
