"""Checks of values: finite, inside their bounds, in their units, spread like the others."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vla.data.check.finding import Finding
from vla.data.check.survey import Episode, Survey
from vla.data.stats import summarize
from vla.embodiment import Axis

TOLERANCE = 1e-3
"""Relative slack on bounds."""
UNIT_RATIO = 20.0
"""Episodes of one robot do not differ by this factor in magnitude; degrees do (57), mm too."""
LARGEST = {"rad": 6 * np.pi, "m": 20.0}
"""Beyond these a joint or an arm's workspace is not in radians or metres."""
FACTORS = {"rad": {180 / np.pi: "degrees"}, "m": {1000.0: "millimetres", 100.0: "centimetres"}}
DRIFT = 0.5
"""Widths of the others' range by which a mean must lie outside it."""
SMALLEST = 0.1
"""Of the widest range among axes of a unit: narrower ranges are taken to be this wide."""
ENVELOPE = 0.02
"""Share of the episodes that may be strange without widening that range."""
LEAST = 10
"""Steps from which an episode's mean says something."""
FEWEST = 5
"""Episodes needed before one is called unlike the others."""


def find_not_finite(survey: Survey) -> Iterator[Finding]:
    """NaN and infinity in states and actions. `admission` refuses these."""
    for episode in survey.episodes:
        for what, axes, values in _vectors(survey, episode):
            bad = ~np.isfinite(values)
            if bad.any():
                step, axis = map(int, np.argwhere(bad)[0])
                message = (
                    f"{what} axis {axes[axis].name!r} is {values[step, axis]} at step {step}; "
                    f"{int(bad.any(axis=1).sum())} steps are affected"
                )
                yield Finding(
                    kind="not_finite",
                    severity="error",
                    message=message,
                    episode=episode.index,
                    frames=(step, step + 1),
                )


def find_out_of_bounds(survey: Survey) -> Iterator[Finding]:
    """Values outside what the embodiment declares: actions are errors, states warnings."""
    for episode in survey.usable:
        for what, axes, values in _vectors(survey, episode):
            low = np.array([axis.low for axis in axes])
            high = np.array([axis.high for axis in axes])
            slack = TOLERANCE * np.maximum(1e-3, np.minimum(np.abs(high - low), 1e6))
            bad = (values < low - slack) | (values > high + slack)
            for index in np.flatnonzero(bad.any(axis=0)).tolist():
                axis, steps = axes[index], np.flatnonzero(bad[:, index])
                first = int(steps[0])
                message = (
                    f"{what} axis {axis.name!r} is {values[first, index]:.4g} {axis.unit} at step "
                    f"{first}, outside [{axis.low:.4g}, {axis.high:.4g}] ({len(steps)} of "
                    f"{len(values)} steps)"
                )
                yield Finding(
                    kind=f"{what}_bounds",
                    severity="error" if what == "action" else "warning",
                    message=message,
                    episode=episode.index,
                    frames=(first, first + 1),
                )


def find_constant_axes(survey: Survey) -> Iterator[Finding]:
    """Axes of the whole store that do not spread: training refuses them."""
    for what in ("state", "action"):
        axes, rows = survey.vectors(what)
        if not rows or not axes:
            continue
        table = summarize(
            np.concatenate([values for _, values in rows]), tuple(a.name for a in axes)
        )
        if dead := table.degenerate():
            message = (
                f"{len(dead)} of {len(axes)} {what} axes do not spread over the store (standard "
                "deviation 0, or equal 1 % and 99 % quantiles): "
                f"{', '.join(f'{n!r} at {table.mean[table.names.index(n)]:.4g}' for n in dead)}"
            )
            yield Finding(kind="constant_axis", severity="error", message=message)


def find_wrong_units(survey: Survey) -> Iterator[Finding]:
    """Magnitudes that only another unit explains, beside the other episodes or by themselves."""
    for what in ("state", "action"):
        axes, rows = survey.vectors(what)
        for unit, factors in FACTORS.items():
            chosen = [i for i, axis in enumerate(axes) if axis.unit == unit]
            if not chosen or not rows:
                continue
            each = np.array(
                [np.quantile(np.abs(values[:, chosen]), 0.9, axis=0) for _, values in rows]
            )
            sizes = each.max(axis=1)
            middle = float(np.median(sizes))
            if middle > LARGEST[unit]:
                message = (
                    f"{what} axes in {unit!r} reach {middle:.4g} in the median episode: probably "
                    f"{' or '.join(factors.values())}"
                )
                yield Finding(kind="wrong_units", severity="error", message=message)
            if len(rows) < 3 or middle <= 0:
                continue
            # Another unit enlarges every axis; one that grew alone is an unwrapped angle, say.
            usual = np.maximum(np.median(each, axis=0), 1e-9)
            spread = np.median(each / usual, axis=1)
            for (episode, _), ratio, typical in zip(rows, sizes / middle, spread, strict=True):
                name = _name_factor(ratio, factors, small=what == "state")
                if (ratio > UNIT_RATIO or name) and max(typical, 1 / typical) > UNIT_RATIO / 4:
                    message = (
                        f"{what} axes in {unit!r} are {ratio:.3g} times as large as in the median "
                        f"episode{name}"
                    )
                    yield Finding(
                        kind="wrong_units",
                        severity="error",
                        message=message,
                        episode=episode.index,
                    )


def _name_factor(ratio: float, factors: dict[float, str], *, small: bool) -> str:
    for factor, name in factors.items():
        if 0.6 < ratio / factor < 1.6:
            return f": probably {name}"
        # A small action may be a rest; a whole pose does not shrink by exactly such a factor.
        if small and 0.6 < ratio * factor < 1.6:
            return f": probably the others are in {name}"
    return ""


def find_drift(survey: Survey) -> Iterator[Finding]:
    """Episodes whose mean lies clearly outside what the other episodes visit at all."""
    for what in ("state", "action"):
        axes, rows = survey.vectors(what)
        if len(rows) < FEWEST:
            continue
        means = np.array([values.mean(axis=0, dtype=np.float64) for _, values in rows])
        bounds = np.array([np.quantile(values, (0.05, 0.95), axis=0) for _, values in rows])
        # The others without their outermost few, so that several strange ones are found too.
        # Position `spare` is the episode's own when it is among those few, hence one further.
        spare = int(ENVELOPE * len(rows)) + 1
        low = np.sort(bounds[:, 0], axis=0)[spare]
        high = np.sort(bounds[:, 1], axis=0)[-1 - spare]
        width = _widen(high - low, axes)
        away = np.maximum(low - means, means - high) / width
        for number, (episode, _) in enumerate(rows):
            far = np.flatnonzero(away[number] > DRIFT)
            if len(far) and len(episode) >= LEAST:
                worst = int(far[np.argmax(away[number, far])])
                message = (
                    f"{what} axis {axes[worst].name!r} has mean {means[number, worst]:.4g} "
                    f"{axes[worst].unit}; the other episodes stay in [{low[worst]:.4g}, "
                    f"{high[worst]:.4g}]"
                    + (f" ({len(far) - 1} more axes are off)" if len(far) > 1 else "")
                )
                yield Finding(
                    kind="stats_drift", severity="warning", message=message, episode=episode.index
                )


def _widen(widths: NDArray[np.float64], axes: tuple[Axis, ...]) -> NDArray[np.float64]:
    """Ranges (D,) no smaller than a share of their unit's usual: a finger held still is no scale.

    A unit whose axes all stand still gives no scale at all; they get an infinite range.
    """
    units = np.array([axis.unit for axis in axes])
    usual = np.array([np.max(widths[units == unit]) for unit in units])
    return np.where(usual > 0, np.maximum(widths, SMALLEST * usual), np.inf)


def _vectors(
    survey: Survey, episode: Episode
) -> Iterator[tuple[str, tuple[Axis, ...], NDArray[np.float32]]]:
    yield "state", survey.embodiment.state, episode.state
    if episode.action is not None:
        yield "action", survey.embodiment.action, episode.action
