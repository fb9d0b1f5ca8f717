"""Figures of a flight, from its log."""

from typing import Any

import numpy as np

from vla.runtime.record import Flight
from vla.runtime.states import State


def summary(flight: Flight) -> dict[str, Any]:
    """Figures of a flight.

    Returns:
        ticks, seconds, rate_hz (mean, by slots that ran), lateness_ms {p50, p99, max},
        missed (slots), observation_age_ms {p50, p99, max} when the command was handed over,
        plan_age_ms {p50, p99, max} while running, starved (ticks held for want of a plan),
        io_ms {p50, p99, max} inside the driver, states {state: ticks}, changes (see `changes`),
        refusals {cause: ticks}, latched, plans, seam_jump and inner_jump: the largest change
        of the wanted command between plans and inside one, as a share of the axis' range.
    """
    ticks, axes = flight.ticks, flight.embodiment.action
    causes = flight.header["causes"]
    codes, counts = np.unique(ticks["cause"][ticks["cause"] > 0], return_counts=True)
    begins = ticks["deadline"] + ticks["lateness"]
    seconds = float(begins[-1] - begins[0]) if len(ticks) > 1 else 0.0
    oldest = np.fmin(ticks["state_time"], ticks["image_time"])
    span = np.array([axis.high - axis.low for axis in axes])
    with np.errstate(invalid="ignore"):  # the wanted command may hold NaN and inf
        jump = np.abs(np.diff(ticks["wanted"].astype(np.float64), axis=0)) / span
    jump = jump.max(axis=1, initial=0.0)
    seam = np.diff(ticks["chunk"]) != 0
    return {
        "ticks": len(ticks),
        "seconds": seconds,
        "rate_hz": (len(ticks) - 1) / seconds if seconds else 0.0,
        "lateness_ms": _percentiles(ticks["lateness"]),
        "missed": int(ticks["missed"].sum()),
        "observation_age_ms": _percentiles(ticks["time"] - oldest),
        "plan_age_ms": _percentiles(ticks["plan_age"][ticks["mode"] == State.RUN]),
        "starved": int(((ticks["mode"] == State.HOLD) & (ticks["cause"] == 0)).sum()),
        "io_ms": _percentiles(ticks["io_time"]),
        "states": {s.name: n for s in State if (n := int((ticks["mode"] == s).sum()))},
        "changes": changes(flight),
        "refusals": {causes[c]: int(n) for c, n in zip(codes, counts, strict=True)},
        "latched": bool(ticks["latched"].any()),
        "plans": len(np.unique(ticks["chunk"][ticks["chunk"] >= 0])),
        "seam_jump": _largest(jump[seam]),
        "inner_jump": _largest(jump[~seam]),
    }


def changes(flight: Flight) -> list[dict[str, Any]]:
    """Every change of the state: at (seconds after the first tick), from, to, cause.

    The cause is the gate's; "plan" where the controller held because no fresh plan was there.
    """
    ticks, causes = flight.ticks, flight.header["causes"]
    listing = []
    for index in np.flatnonzero(np.diff(ticks["mode"])) + 1:
        tick = ticks[index]
        cause = causes[tick["cause"]] if tick["cause"] else ""
        if not cause and tick["mode"] == State.HOLD:
            cause = "plan"
        listing.append(
            {
                "at": round(float(tick["time"] - ticks["time"][0]), 4),
                "from": State(ticks["mode"][index - 1]).name,
                "to": State(tick["mode"]).name,
                "cause": cause,
            }
        )
    return listing


def _percentiles(seconds: np.ndarray) -> dict[str, float]:
    """p50, p99, p99.9 and max in milliseconds; empty without ticks."""
    seconds = seconds[np.isfinite(seconds)].astype(np.float64)
    if not len(seconds):
        return {}
    p50, p99, p999 = np.percentile(seconds, [50, 99, 99.9]) * 1e3
    largest = float(seconds.max() * 1e3)
    return {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": largest}


def _largest(values: np.ndarray) -> float:
    """Largest finite value; 0 when there is none."""
    return float(values[np.isfinite(values)].max(initial=0.0))
