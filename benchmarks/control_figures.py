"""What the commands of a flight tell about the loop that sent them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def describe_commands(
    times: Sequence[float], commands: Sequence, *, hz: float, speed: ArrayLike
) -> dict:
    """Punctuality, and how many commands should never have been sent.

    Args:
        times: monotonic seconds at which each command was given to the driver.
        commands: (A,) each, joints in rad, gripper in parts of its stroke.
        hz: rate that was asked for.
        speed: (A,) largest change per second of each axis that is legal.
    """
    when = np.array(times)
    gaps = np.diff(when)
    if not len(gaps):
        return {"commands": len(when)}
    off = np.abs(gaps - 1 / hz) * 1e3
    p50, p99, p999 = np.percentile(off, [50, 99, 99.9])
    rate = len(gaps) / float(when[-1] - when[0])
    rows = np.array(commands, np.float64)
    steps = np.abs(np.diff(rows, axis=0))
    far = (steps > np.asarray(speed) / hz + 1e-4).any(axis=1)
    return {
        "commands": len(when),
        "rate_hz": round(rate, 4),
        "rate_error_percent": round(100 * (rate / hz - 1), 4),
        "off_ms": {"p50": round(p50, 4), "p99": round(p99, 4), "p999": round(p999, 4),
                   "max": round(float(off.max()), 4)},
        "missed": int(np.maximum(np.round(gaps * hz) - 1, 0).sum()),
        "not_finite": int((~np.isfinite(rows).all(axis=1)).sum()),
        "too_fast": int(far.sum()),
        "largest_step": round(float(np.nanmax(steps)), 4),
    }  # fmt: skip


def describe_fault(times: Sequence[float], commands: Sequence, *, hz: float, at: float) -> dict:
    """What the arm was told from `at` (monotonic seconds) on."""
    when = np.array(times)
    rows = np.array(commands, np.float64)
    since = when > at
    if not since.any():
        return {"commands_after": 0, "at_rest_after_ms": 0.0, "moves_again": False}
    moving = np.zeros(len(when), bool)
    moving[1:] = np.abs(np.diff(np.nan_to_num(rows), axis=0)).max(axis=1) > 1e-5
    # how long it went on to move before the first rest of at least 0.1 s
    still = np.convolve(moving[since], np.ones(max(2, int(0.1 * hz))), "valid") == 0
    rest = float(when[since][int(np.argmax(still))] - at) if still.any() else None
    last = when[moving & since]
    return {
        "commands_after": int(since.sum()),
        "at_rest_after_ms": None if rest is None else round(rest * 1e3, 1),
        "moves_again": bool(rest is not None and len(last) and last[-1] - at > rest + 0.2),
    }
