"""Checks of time: order, rate, gaps, and how old pictures are."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vla.data.check.finding import Finding, describe_steps
from vla.data.check.survey import Episode, Survey

GAP = 2.5
"""Periods between two rows from which data is missing between them."""
RATE_ERROR = 0.05
JITTER = 0.25
"""Periods by which a step may differ from the usual one ..."""
JITTER_SHARE = 0.05
"""... in at most this share of the steps."""
LAG = 1.5
"""Periods by which the median picture may be older than its row."""


def find_disorder(survey: Survey) -> Iterator[Finding]:
    """Time that stands still, runs backwards, or is no number. `admission` refuses these."""
    for episode in survey.episodes:
        bad = np.flatnonzero(~(np.diff(episode.time) > 0))  # not "<= 0": NaN is caught as well
        if len(bad) or not np.isfinite(episode.time).all():
            step = int(bad[0]) + 1 if len(bad) else 0
            message = f"time does not increase at {max(len(bad), 1)} steps, first at step {step}"
            yield Finding(
                kind="time_order",
                severity="error",
                message=message,
                episode=episode.index,
                frames=(step, step + 1),
            )


def _in_order(episode: Episode) -> bool:
    return bool(np.isfinite(episode.time).all() and (np.diff(episode.time) > 0).all())


def _paces(survey: Survey, least: int) -> Iterator[tuple[Episode, NDArray[np.float64]]]:
    """Episodes whose clock runs forward, with the seconds between their rows, `least` or more."""
    for episode in survey.episodes:
        steps = np.diff(episode.time)
        if len(steps) >= least and _in_order(episode):
            yield episode, steps


def find_gaps(survey: Survey) -> Iterator[Finding]:
    """Stretches without rows, measured against the episode's own usual step."""
    for episode, steps in _paces(survey, 3):
        usual = float(np.median(steps))
        for step in np.flatnonzero(steps > GAP * usual).tolist():
            span = (step, step + 2)
            message = (
                f"{steps[step]:.3f} s pass at {describe_steps(span)}, usually {usual:.3f} s: "
                f"about {steps[step] / usual - 1:.0f} rows are missing"
            )
            yield Finding(
                kind="time_gap",
                severity="warning",
                message=message,
                episode=episode.index,
                frames=span,
            )


def find_wrong_rate(survey: Survey) -> Iterator[Finding]:
    """Rows recorded at another rate than the embodiment declares."""
    for episode, steps in _paces(survey, 3):
        rate = 1 / float(np.median(steps))
        if abs(rate / survey.embodiment.hz - 1) > RATE_ERROR:
            message = f"recorded at {rate:.4g} Hz; the embodiment declares {survey.embodiment.hz:g}"
            yield Finding(
                kind="wrong_rate", severity="error", message=message, episode=episode.index
            )


def find_jitter(survey: Survey) -> Iterator[Finding]:
    """Steps that are often shorter or longer than usual; gaps are counted apart."""
    for episode, steps in _paces(survey, 10):
        usual = float(np.median(steps))
        off = (np.abs(steps - usual) > JITTER * usual) & (steps <= GAP * usual)
        if off.mean() > JITTER_SHARE:
            spread = 1e3 * float(np.std(steps[steps <= GAP * usual]))
            message = (
                f"{100 * off.mean():.0f} % of the steps are more than a quarter off the usual "
                f"{1e3 * usual:.1f} ms (standard deviation {spread:.1f} ms)"
            )
            yield Finding(kind="jitter", severity="warning", message=message, episode=episode.index)


def find_camera_lag(survey: Survey) -> Iterator[Finding]:
    """Pictures that were exposed long before, or after, the row they stand in."""
    period = 1 / survey.embodiment.hz
    for episode in survey.episodes:
        for camera, captured in episode.captured.items():
            age = episode.time - captured
            if not np.isfinite(age).all():
                continue
            median, worst = float(np.median(age)), float(np.abs(age).max())
            if not -LAG * period <= median <= LAG * period:
                when = "before" if median > 0 else "after"
                message = (
                    f"pictures were exposed {1e3 * abs(median):.0f} ms {when} their rows (median; "
                    f"at most {1e3 * worst:.0f} ms); a control period is {1e3 * period:.0f} ms"
                )
                yield Finding(
                    kind="camera_lag",
                    severity="warning",
                    message=message,
                    episode=episode.index,
                    camera=camera,
                )
