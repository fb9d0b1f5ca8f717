"""Checks of how the body moves: jumps, turns past pi, stretches without motion."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vla.data.check.finding import Finding, describe_steps
from vla.data.check.survey import Survey
from vla.embodiment import Axis

FULL_TURN = 2 * np.pi
JUMP = 6.0
"""A jump is this many times as large as the largest step of the median episode ..."""
ISOLATED = 4.0
"""... and as the steps before and after it, unless the next one undoes it."""
IDLE_SECONDS = 1.0
STILL = 0.02
"""Of the store's usual step: below this nothing moves."""
ZERO = 1e-4
"""Of an action's usual size: below this it asks for nothing."""


def find_angle_wraps(survey: Survey) -> Iterator[Finding]:
    """Steps of a full turn: an angle that left (-pi, pi] on one side and came back on the other."""
    for what, severity in (("state", "warning"), ("action", "error")):
        axes, rows = survey.vectors(what)
        for episode, values in rows:
            for index, axis in enumerate(axes):
                if axis.unit != "rad":
                    continue
                # A delta that holds the full turn is an unwrapped difference.
                steps = values[:, index] if axis.mode == "delta" else np.diff(values[:, index])
                turned = np.flatnonzero(_find_turns(steps))
                if len(turned):
                    first = int(turned[0])
                    message = (
                        f"{what} axis {axis.name!r} changes by {steps[first]:.3f} rad at step "
                        f"{first} ({len(turned)} times): a full turn, no motion"
                    )
                    yield Finding(
                        kind="angle_wrap",
                        severity=severity,
                        message=message,
                        episode=episode.index,
                        frames=(first, first + 2),
                    )


def find_jumps(survey: Survey) -> Iterator[Finding]:
    """Single state steps far larger than any usual one, out of nowhere or back at once.

    Pure numbers (unit "1", grippers as a rule) may switch at once and are left out, full
    turns are `find_angle_wraps`' business.
    """
    axes, rows = survey.vectors("state")
    rows = [(episode, values) for episode, values in rows if len(values) >= 4]
    chosen = [index for index, axis in enumerate(axes) if axis.unit != "1"]
    if len(rows) < 3 or not chosen:
        return
    moves = [np.diff(values[:, chosen].astype(np.float64), axis=0) for _, values in rows]
    usual = np.median([np.abs(move).max(axis=0) for move in moves], axis=0)
    table = np.concatenate([values[:, chosen] for _, values in rows])
    reach = np.subtract(*np.quantile(table, (0.99, 0.01), axis=0))
    for (episode, _), move in zip(rows, moves, strict=True):
        step = np.abs(move)
        large = (step > JUMP * usual) & (step > 0.05 * reach) & _find_lone(move)
        for column in np.flatnonzero([axes[index].unit == "rad" for index in chosen]).tolist():
            large[:, column] &= ~_find_turns(move[:, column])
        if large.any():
            at, column = map(int, np.argwhere(large)[0])
            axis = axes[chosen[column]]
            message = (
                f"state axis {axis.name!r} moves {step[at, column]:.4g} {axis.unit} in one step, "
                f"{step[at, column] / max(usual[column], 1e-12):.0f} times the largest step of the "
                f"median episode ({int(large.any(axis=1).sum())} such steps)"
            )
            yield Finding(
                kind="jump",
                severity="warning",
                message=message,
                episode=episode.index,
                frames=(at, at + 2),
            )


def _find_turns(steps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Steps (T,) of an angle that are a full turn but for what the angle usually moves.

    A command that switches between -3 and 3 moves nearly as far, but it moves nothing else.
    """
    if not len(steps):
        return np.zeros(0, bool)
    slack = 0.02 + 3 * np.quantile(np.abs(steps), 0.9)
    return np.abs(np.abs(steps) - FULL_TURN) < min(slack, 0.1 * FULL_TURN)


def _find_lone(moves: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Steps (T, n) that no motion explains: both neighbours are small, or the next undoes it."""
    steps = np.abs(moves)
    padded = np.pad(steps, ((1, 1), (0, 0)))
    leap = steps > ISOLATED * np.maximum(padded[:-2], padded[2:])
    back = np.abs(moves + np.pad(moves, ((0, 1), (0, 0)))[1:]) * ISOLATED < steps
    return leap | (back & (steps > ISOLATED * padded[:-2]))


def find_idle(survey: Survey) -> Iterator[Finding]:
    """Stretches of a second or more in which neither state nor action changes."""
    _, rows = survey.vectors("state")
    least = max(5, round(IDLE_SECONDS * survey.embodiment.hz))
    paths = measure_steps([values for _, values in rows])
    if not paths:
        return
    usual = float(np.median(np.concatenate(paths)))
    for (episode, _), path in zip(rows, paths, strict=True):
        still = path < STILL * usual
        if episode.action is not None and episode.action.size:
            scale = np.maximum(np.abs(episode.action).max(axis=0), 1e-12)
            asks = np.abs(_read_intents(episode.action, survey.embodiment.action)) / scale
            still &= asks[:-1].max(axis=1) < STILL
        first, stop = find_longest_run(still)
        if stop - first >= least:
            message = (
                f"nothing moves and nothing is asked for at {describe_steps((first, stop))}: "
                f"{(stop - first) / survey.embodiment.hz:.1f} s of {len(path) + 1} steps"
            )
            yield Finding(
                kind="idle",
                severity="warning",
                message=message,
                episode=episode.index,
                frames=(first, stop),
            )


def find_zero_first_action(survey: Survey) -> Iterator[Finding]:
    """A first action of zero in most episodes, a trace of how the data was made."""
    axes, rows = survey.vectors("action")
    deltas = [index for index, axis in enumerate(axes) if axis.mode == "delta"]
    rows = [(episode, values) for episode, values in rows if len(values) > 2]
    if not deltas or not rows:
        return
    sizes = [np.abs(values[:, deltas]).max(axis=1) for _, values in rows]
    usual = float(np.median(np.concatenate(sizes)))
    zero = [size[0] < ZERO * usual for size in sizes]
    later = [float((size[1:] < ZERO * usual).mean()) for size in sizes]
    if np.mean(zero) > 0.5 and np.mean(later) < 0.1:
        message = f"the first action is zero in {sum(zero)} of {len(rows)} episodes"
        yield Finding(kind="zero_first_action", severity="note", message=message, frames=(0, 1))


def measure_steps(states: list[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    """Length of each state step, (N - 1,), in units of the axes' spread over all of `states`.

    Empty when nothing can move: no episodes, no axes, or single steps only.
    """
    if not any(len(values) > 1 and values.shape[1] for values in states):
        return []
    reach = np.subtract(*np.quantile(np.concatenate(states), (0.99, 0.01), axis=0))
    scale = np.where(reach > 0, reach, np.inf)
    return [
        np.linalg.norm(np.diff(values.astype(np.float64), axis=0) / scale, axis=1)
        for values in states
    ]


def _read_intents(action: NDArray[np.float32], axes: tuple[Axis, ...]) -> NDArray[np.float32]:
    """What each row asks to change: deltas as they are, other axes as their step. (N, A)."""
    changes = np.diff(action, axis=0, prepend=action[:1])
    deltas = np.array([axis.mode == "delta" for axis in axes])
    return np.where(deltas, action, changes)


def find_longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """(first, past the last) of the longest run of True; (0, 0) when there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(stops - starts))
    return int(starts[longest]), int(stops[longest])
