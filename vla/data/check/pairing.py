"""Checks of actions against the states they lead to, over pairs of axes found by name.

Delta actions are compared with state differences, absolute ones with later states, at the
delay that fits best over the store. A commanded step is not reached in one tick, and
recorded corrections are not what was executed, so that only signs and gross factors count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla.data.check.finding import Finding
from vla.data.check.survey import Survey
from vla.types import Float32

DELAYS = range(5)
"""Steps tried between an action and its effect."""
RELATED = 0.5
"""Median correlation from which a pair of axes counts as understood."""
OPPOSED = -0.3
SCALE = 10.0
"""Factor between action and motion from which units differ."""
FEWEST_STEPS = 8
TRIALS = 200
"""Episodes the delay is chosen on."""
GRIPPERS = ("gripper", "finger", "jaw", "claw")


@dataclass(frozen=True, slots=True)
class AxisPair:
    """An action axis and the state axis it moves, by their places; `delta` as in Axis.mode."""

    name: str
    unit: str
    action: int
    state: int
    delta: bool


def pair_axes(survey: Survey) -> list[AxisPair]:
    """Axes that belong together: equal names, or "dx" and "x"; equal units and frames."""
    places = {axis.name: index for index, axis in enumerate(survey.embodiment.state)}
    pairs = []
    for index, axis in enumerate(survey.embodiment.action):
        name = axis.name
        if axis.mode == "delta" and name not in places:
            name = name.removeprefix("delta_").removeprefix("d")
        if axis.mode == "relative" or name not in places:
            continue
        other = survey.embodiment.state[places[name]]
        if other.unit == axis.unit and other.frame == axis.frame:
            pair = AxisPair(axis.name, axis.unit, index, places[name], axis.mode == "delta")
            pairs.append(pair)
    return pairs


def find_action_mismatch(survey: Survey) -> Iterator[Finding]:
    """Actions that do not lead where the state goes: sign, factor, order, pairing in time."""
    _, rows = survey.vectors("action")
    votes: list[list[float]] = [[] for _ in rows]
    for pair in pair_axes(survey):
        if is_gripper(pair.name):
            continue
        fits = _fit(pair, [(episode.state, action) for episode, action in rows])
        moved = np.flatnonzero(np.isfinite(fits[:, 0]))
        if len(moved) < 3:
            continue
        correlation, factor = np.median(fits[moved, 0]), np.median(fits[moved, 1])
        finding = _judge(pair, float(correlation), float(factor), len(moved))
        if finding is not None:
            yield finding
        elif correlation > RELATED and pair.unit != "rad":
            for number in moved.tolist():
                votes[number].append(fits[number, 0])
    for (episode, _), given in zip(rows, votes, strict=True):
        # Angles of a rotation mix their axes; several positions that disagree do not lie.
        if len(given) > 1 and max(given) < 0.2 and np.mean(given) < OPPOSED / 3:
            message = (
                "actions do not lead where the state goes (correlations "
                f"{', '.join(f'{value:.2f}' for value in given)}), unlike in the other episodes"
            )
            yield Finding(
                kind="action_mismatch", severity="error", message=message, episode=episode.index
            )


def _judge(pair: AxisPair, correlation: float, factor: float, count: int) -> Finding | None:
    """A finding about the whole store, if there is one."""
    if correlation < OPPOSED:
        message = (
            f"action axis {pair.name!r} moves its state the other way (median correlation "
            f"{correlation:.2f} over {count} episodes)"
        )
        return Finding(kind="action_mismatch", severity="error", message=message)
    if abs(correlation) > RELATED and not 1 / SCALE < factor < SCALE:
        message = (
            f"action axis {pair.name!r} is in another unit than its state: the state moves "
            f"{factor:.3g} times as much as asked (median of {count} episodes)"
        )
        return Finding(kind="wrong_units", severity="error", message=message)
    return None


def find_gripper_flips(survey: Survey) -> Iterator[Finding]:
    """Episodes whose gripper closes when the others' opens on the same command."""
    _, rows = survey.vectors("action")
    action = next((i for i, a in enumerate(survey.embodiment.action) if is_gripper(a.name)), None)
    state = next((i for i, a in enumerate(survey.embodiment.state) if is_gripper(a.name)), None)
    if action is None or state is None or survey.embodiment.action[action].mode != "absolute":
        return
    name = survey.embodiment.action[action].name
    pair = AxisPair(name, "1", action, state, delta=False)
    fits = _fit(pair, [(episode.state, values) for episode, values in rows])[:, 0]
    moved = np.flatnonzero(np.isfinite(fits))
    if not len(moved):
        return
    usual = float(np.median(fits[moved]))
    if usual < -RELATED and len(moved) >= 3:
        message = (
            f"action axis {name!r} means the opposite of the state's: their median correlation is "
            f"{usual:.2f} over {len(moved)} episodes"
        )
        yield Finding(kind="gripper_flip", severity="error", message=message)
    if abs(usual) < RELATED or len(moved) < 3:
        return
    for number in moved[fits[moved] * np.sign(usual) < -RELATED].tolist():
        message = (
            f"the gripper answers {name!r} the other way round (correlation {fits[number]:.2f}, "
            f"{usual:.2f} in the median episode)"
        )
        yield Finding(
            kind="gripper_flip", severity="error", message=message, episode=rows[number][0].index
        )


def is_gripper(name: str) -> bool:
    """Whether an axis is called like a gripper."""
    return any(word in name.lower() for word in GRIPPERS)


def _fit(pair: AxisPair, rows: list[tuple[Float32, Float32]]) -> NDArray[np.float64]:
    """Correlation and factor per episode (E, 2) at the store's best delay.

    NaN where too little moves.
    """
    trial = rows[:: max(1, len(rows) // TRIALS)]
    known = {delay: _fit_at(pair, trial, delay)[:, 0] for delay in DELAYS}
    known = {delay: fits[np.isfinite(fits)] for delay, fits in known.items()}
    best = max(DELAYS, key=lambda d: abs(np.median(known[d])) if len(known[d]) else -1.0)
    return _fit_at(pair, rows, best)


def _fit_at(pair: AxisPair, rows: list[tuple[Float32, Float32]], delay: int) -> NDArray[np.float64]:
    table = np.full((len(rows), 2), np.nan)
    for number, (state, action) in enumerate(rows):
        if len(state) - 1 - delay < FEWEST_STEPS:
            continue
        asked = action[: len(action) - 1 - delay, pair.action].astype(np.float64)
        reached = state[1 + delay :, pair.state].astype(np.float64)
        if pair.delta:
            reached = reached - state[delay:-1, pair.state]
        asked, reached = asked - asked.mean(), reached - reached.mean()
        sizes = np.sqrt(asked @ asked), np.sqrt(reached @ reached)
        if min(sizes) > 1e-9:
            table[number] = asked @ reached / (sizes[0] * sizes[1]), sizes[1] / sizes[0]
    return table
