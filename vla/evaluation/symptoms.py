"""What can be measured on demonstrations in the world as deployed: errors, delays, strangeness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.evaluation.open_loop import cut_targets, observe
from vla.evaluation.repairs import Float64, Look
from vla.types import Observation, Trajectory

ERROR_LIMIT = 3.0
"""One entry's error counts at most so many standard deviations of its axis."""
MAX_LAG = 8
SMALL_ERROR = 0.4
"""Plans this near (standard deviations) leave little to explain; shares are of at least this."""
_CLEAR = 0.5


@dataclass(frozen=True, slots=True)
class Windows:
    """Moments of demonstrations at which the policy is asked for a plan.

    Attributes:
        observations: n of them, each with the policy's history.
        actions: per window the demonstrator's actions from then on, (rest, A).
        episode: (n,), which trajectory each comes from.
    """

    observations: list[Observation]
    actions: list[Float64]
    episode: NDArray[np.int64]

    @classmethod
    def cut(cls, trajectories: Sequence[Trajectory], *, history: int, each: int) -> "Windows":
        """`each` windows per trajectory, evenly spaced. Raises DataError without actions."""
        observations, actions, episode = [], [], []
        for number, trajectory in enumerate(trajectories):
            if trajectory.action is None:
                raise DataError("Triage compares plans with actions; a trajectory has none.")
            for step in np.unique(np.linspace(0, len(trajectory) - 1, each).astype(int)):
                observations.append(observe(trajectory, int(step), history))
                actions.append(trajectory.action[step:].astype(np.float64))
                episode.append(number)
        return cls(observations, actions, np.array(episode))

    def plan(self, policy: Policy, look: Look | None = None, *, batch: int = 16) -> Float64:
        """The policy's plans (n, H, A), of observations changed by `look`; equal seeds."""
        seen = [look(o) if look else o for o in self.observations]
        rows: list[Float64] = []
        for start in range(0, len(seen), batch):
            part = seen[start : start + batch]
            seeds = list(range(start, start + len(part)))
            rows += [c.actions.astype(np.float64) for c in policy.act(part, seeds=seeds)]
        return np.stack(rows)

    def targets(self, horizon: int) -> tuple[Float64, NDArray[np.bool_]]:
        """Demonstrated rows (n, H, A), and which of them (n, H) there were."""
        start = np.zeros(1, dtype=np.int64)
        cut = [cut_targets(rows, start, horizon) for rows in self.actions]
        return np.concatenate([t for t, _ in cut]), np.concatenate([m for _, m in cut])


@dataclass(frozen=True, slots=True)
class Yardstick:
    """How errors count: in standard deviations of each axis; axes that never move do not."""

    scale: Float64
    moves: NDArray[np.bool_]

    @classmethod
    def of(cls, body: Embodiment, actions: Float64) -> "Yardstick":
        """From demonstrated actions (n, A).

        An axis counts when its standard deviation is above 2 % of its range: an undisturbed
        expert hardly turns its wrist, and an error there would be divided by next to nothing.
        """
        span = np.array([axis.high - axis.low for axis in body.action], dtype=np.float64)
        scale = actions.std(0)
        moves = scale > 0.02 * np.where(np.isfinite(span), span, 1.0)
        if not moves.any():
            raise DataError("No axis moves in these demonstrations; there is nothing to compare.")
        return cls(np.where(moves, scale, 1.0), moves)

    def measure(
        self,
        plans: Float64,
        target: Float64,
        mask: NDArray[np.bool_],
        axes: Sequence[int] | None = None,
    ) -> Float64:
        """Mean absolute error (n,) of each plan over its real rows and the axes that move.

        Of `axes` only, if given; at least one of them must move.
        """
        counted = self.moves if axes is None else self.moves & self.pick(axes)
        error = np.minimum(np.abs(plans - target) / self.scale, ERROR_LIMIT)[..., counted]
        return (error.mean(-1) * mask).sum(1) / np.maximum(mask.sum(1), 1)

    def pick(self, axes: Sequence[int]) -> NDArray[np.bool_]:
        """(A,), which axes these are."""
        return np.isin(np.arange(len(self.moves)), axes)


def reduce_error(
    before: Float64, after: Float64, episode: NDArray[np.int64], *, resamples: int = 400
) -> tuple[float, float]:
    """Share of the mean error that goes away, and its lower 95 % bound (bootstrap over episodes).

    The share of SMALL_ERROR where the error is below that.

    Episodes are what is drawn anew; windows of one episode are alike.
    """
    groups = np.unique(episode)
    sums = np.array([[x[episode == g].sum() for g in groups] for x in (before, after)])
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(groups), (resamples, len(groups)))
    drawn = sums[:, picks].sum(-1)
    sizes = np.array([(episode == g).sum() for g in groups])
    least = SMALL_ERROR * sizes[picks].sum(-1)
    shares = (drawn[0] - drawn[1]) / np.maximum(drawn[0], least)
    share = (before.mean() - after.mean()) / max(before.mean(), SMALL_ERROR)
    return float(share), float(np.quantile(shares, 0.05))


def find_shift(
    plans: Float64, target: Float64, mask: NDArray[np.bool_], yardstick: Yardstick, *, most: int = 4
) -> tuple[int, Float64, Float64]:
    """By how many rows plans come late (they fit what was due that much earlier).

    Returns:
        The best k in 1..most, and the errors (n,) without and with dropping the first k rows, over
        the rows that both have.
    """
    horizon = plans.shape[1]
    best: tuple[int, Float64, Float64] | None = None
    for k in range(1, min(most, horizon - 1) + 1):
        rows = horizon - k
        before = yardstick.measure(plans[:, :rows], target[:, :rows], mask[:, :rows])
        after = yardstick.measure(plans[:, k:], target[:, :rows], mask[:, :rows])
        gain = 1.0 - after.sum() / max(before.sum(), 1e-12)
        if best is None or gain > 1.0 - best[2].sum() / max(best[1].sum(), 1e-12):
            best = k, before, after
    if best is None:
        error = yardstick.measure(plans, target, mask)
        return 0, error, error
    return best


def estimate_lag(
    trajectories: Sequence[Trajectory], pairs: dict[int, int] | None = None
) -> tuple[float, dict[int, int]]:
    """Ticks between an action and the motion that follows it, by cross-correlation.

    Args:
        trajectories: with actions.
        pairs: state axis that each action axis moves; None: the one that answers most clearly.

    Returns:
        The median lag over axes with a clear answer (correlation above 0.5), NaN without one; and
        the pairs.
    """
    actions = [t.action.astype(np.float64) for t in trajectories if t.action is not None]
    moves = [np.diff(t.state.astype(np.float64), axis=0) for t in trajectories]
    found: dict[int, int] = {}
    lags = []
    table = np.stack([_correlate(actions, moves, lag) for lag in range(MAX_LAG + 1)])  # (k, A, S)
    for axis in range(table.shape[1]):
        if pairs is not None and axis not in pairs:
            continue
        best = pairs[axis] if pairs is not None else int(table[:, axis].max(0).argmax())
        curve = table[:, axis, best]
        if curve.max() > _CLEAR:
            found[axis] = best
            lags.append(int(curve.argmax()))
    return (float(np.median(lags)) if lags else float("nan")), found


def _correlate(actions: list[Float64], moves: list[Float64], lag: int) -> Float64:
    """|correlation| (A, S) between actions and the state's change `lag` ticks later."""
    long = [(a, m) for a, m in zip(actions, moves, strict=True) if len(m) > lag]
    if not long:
        return np.zeros((actions[0].shape[1], moves[0].shape[1]))
    a = np.concatenate([a[: len(m) - lag] for a, m in long])
    m = np.concatenate([m[lag:] for _, m in long])
    a, m = a - a.mean(0), m - m.mean(0)
    spread = np.outer(np.sqrt((a**2).sum(0)), np.sqrt((m**2).sum(0)))
    return np.where(spread > 1e-12, np.abs(a.T @ m) / np.maximum(spread, 1e-12), 0.0)


def measure_strangeness(live: Windows, reference: Windows) -> tuple[float, str]:
    """Share of live moments outside what the training data show, and in which feature most.

    Features: mean and contrast of every camera's channels, every state axis; "outside" means
    beyond the extremes of the training data by more than a tenth of their span.
    """
    ours, names = _describe(live)
    theirs, _ = _describe(reference)
    low, high = theirs.min(0), theirs.max(0)
    slack = 0.1 * (high - low) + 1e-6
    outside = ((ours < low - slack) | (ours > high + slack)).mean(0)
    worst = int(outside.argmax())
    return float(outside[worst]), names[worst]


def find_frozen(trajectories: Sequence[Trajectory]) -> list[str]:
    """Cameras whose picture never changes while the state does."""
    moving = [t for t in trajectories if len(t) > 1 and np.ptp(t.state, axis=0).max() > 1e-3]
    names = moving[0].images if moving else {}
    return [
        name
        for name in names
        if all(np.array_equal(t.images[name][0], t.images[name][-1]) for t in moving)
    ]


def _describe(windows: Windows) -> tuple[Float64, list[str]]:
    rows, names = [], []
    for observation in windows.observations:
        features: dict[str, float] = {}
        for camera in sorted(observation.images):
            picture = observation.images[camera][-1].astype(np.float64)
            for channel, letter in enumerate("RGB"):
                features[f"{camera}, mean of {letter}"] = float(picture[..., channel].mean())
            features[f"{camera}, contrast"] = float(picture.std())
        for index, value in enumerate(observation.state[-1]):
            features[f"state axis {index}"] = float(value)
        rows.append(list(features.values()))
        names = list(features)
    return np.array(rows), names
