"""How far a policy's plans are from the demonstrator's on episodes it has not seen.

Open-loop error is cheap and says whether anything was learnt, axis by axis; it does
not say whether the robot succeeds. Baselines give it meaning: always the mean action of
the training data; the demonstrator's previous action, held; and, where the state tells
what that is, the action that stays in place.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.contract import Policy
from vla.data.stats import compute_statistics, pair_axes
from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.types import Float32, Observation, Trajectory

Float64 = NDArray[np.float64]
PREDICTORS = ("policy", "mean_action", "previous_action", "hold_position")
RESAMPLES = 1000


def measure_open_loop(
    policy: Policy,
    store: TrajectoryStore,
    *,
    held_out: Sequence[int] | NDArray[np.int64],
    train: Sequence[int] | NDArray[np.int64],
    stride: int = 4,
    batch: int = 16,
    seed: int = 0,
) -> dict[str, Any]:
    """Errors of the policy and of the baselines, per action axis in its unit.

    Args:
        policy: plans from observations built as its controller would build them.
        store: recorded episodes, of an embodiment that fits the policy's.
        held_out: episode indices to measure on.
        train: episode indices for the mean action; must not overlap.
        stride: plan at every so many steps of an episode.
        batch: observations per call of the policy.
        seed: of the plans and of the bootstrap.

    Returns:
        {"axes": [{"name", "unit"}], "horizon", "episodes", "windows", "interval", "errors"} where
        errors[predictor][measure] is {"value", "low", "high"}, lists over axes; predictors are
        those of PREDICTORS ("hold_position" only where `stay` knows it), measures are
        l1 and rmse, each at "row_0" and over the "chunk" (rows past the end of an episode are
        left out); bounds are 95 % percentile bootstrap over episodes.

    Raises:
        DataError: no episodes, or some in both sets.
        EmbodimentMismatch: when the store does not fit the policy.
    """
    shared = set(map(int, held_out)) & set(map(int, train))
    if shared or not len(held_out):
        raise DataError(
            f"Open-loop error needs held-out episodes that were not trained on; "
            f"{len(held_out)} given, {len(shared)} of them also in the training split."
        )
    body = policy.embodiment
    body.require(store.embodiment, mine="policy", theirs="store")
    mean = compute_statistics(store, np.asarray(train)).action.mean
    sums: dict[str, list[Float64]] = {}
    counts, windows, horizon = [], 0, 0
    for index in map(int, held_out):
        trajectory = store.episode(index)
        if trajectory.action is None:
            raise DataError(f"Episode {index} of {store.location} has no actions to compare with.")
        starts = np.arange(0, len(trajectory), stride)
        plans = _plan(policy, trajectory, starts, batch=batch, seed=seed)
        horizon = plans.shape[1]
        target, mask = cut_targets(trajectory.action, starts, horizon)
        guesses = {
            "policy": plans,
            "mean_action": np.broadcast_to(mean, target.shape),
            "previous_action": _hold_previous(trajectory.action, starts, mean)[:, None],
        }
        if (still := stay(body, trajectory.state[starts])) is not None:
            guesses["hold_position"] = still[:, None]
        for name, guess in guesses.items():
            sums.setdefault(name, []).append(_sum_errors(guess - target, mask))
        counts.append((len(starts), mask.sum()))
        windows += len(starts)
    return {
        "axes": [{"name": axis.name, "unit": axis.unit} for axis in policy.embodiment.action],
        "horizon": horizon,
        "episodes": len(held_out),
        "windows": windows,
        "interval": f"95 % percentile bootstrap over episodes, {RESAMPLES} resamples",
        "errors": _summarise(sums, np.array(counts, np.float64), seed=seed),
    }


def _plan(
    policy: Policy, trajectory: Trajectory, starts: NDArray[np.int64], *, batch: int, seed: int
) -> Float64:
    """The policy's chunks at `starts`, (n, H, A)."""
    chunks: list[Float32] = []
    for begin in range(0, len(starts), batch):
        steps = starts[begin : begin + batch]
        observations = [observe(trajectory, int(step), policy.history) for step in steps]
        seeds = [seed + int(step) for step in steps]
        chunks += [chunk.actions for chunk in policy.act(observations, seeds=seeds)]
    return np.stack(chunks).astype(np.float64)


def observe(trajectory: Trajectory, step: int, history: int) -> Observation:
    """What a policy with `history` steps of memory would have seen at `step`.

    A step before the episode is the first one, repeated, as the controller does it.
    """
    rows = np.maximum(np.arange(step - history + 1, step + 1), 0)
    return Observation(
        images={name: _pick(frames, rows, name) for name, frames in trajectory.images.items()},
        state=trajectory.state[rows],
        instruction=trajectory.instruction,
        time=float(trajectory.time[step]),
    )


def _pick(frames: Any, rows: NDArray[np.int64], name: str) -> NDArray[np.uint8]:
    if not isinstance(frames, np.ndarray):
        raise DataError(f"Camera {name!r} holds encoded images; give a trajectory decoded.")
    return frames[rows]


def stay(body: Embodiment, state: Float32) -> Float64 | None:
    """The actions (n, A) that keep the body where `state` (n, S) says it is.

    0 for a delta axis, else the state axis that `pair_axes` names. None when one is lacking.
    """
    pairs = pair_axes(body)
    if any(a.mode != "delta" and i not in pairs for i, a in enumerate(body.action)):
        return None
    still = np.zeros((len(state), len(body.action)))
    still[:, list(pairs)] = state[:, list(pairs.values())]
    return still


def cut_targets(
    actions: Float32, starts: NDArray[np.int64], horizon: int
) -> tuple[Float64, NDArray[np.bool_]]:
    """Demonstrated rows (n, H, A), and which of them (n, H) lie inside the episode."""
    rows = starts[:, None] + np.arange(horizon)
    inside = rows < len(actions)
    return actions[np.minimum(rows, len(actions) - 1)].astype(np.float64), inside


def _hold_previous(actions: Float32, starts: NDArray[np.int64], mean: Float64) -> Float64:
    """The action before each start (n, A); the mean action before the first."""
    return np.where(starts[:, None] > 0, actions[np.maximum(starts - 1, 0)], mean)


def _sum_errors(error: Float64, mask: NDArray[np.bool_]) -> Float64:
    """Sums (2 kinds, 2 ranges, A) of |error| and error^2, at row 0 and over the chunk."""
    kinds = np.stack([np.abs(error), error**2])  # (2, n, H, A)
    chunk = (kinds * mask[None, :, :, None]).sum((1, 2))
    return np.stack([kinds[:, :, 0].sum(1), chunk], axis=1)


def _summarise(sums: dict[str, list[Float64]], counts: Float64, *, seed: int) -> dict[str, Any]:
    """Means with bootstrap bounds; all predictors share the resamples. counts: (E, 2 ranges)."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(counts), (RESAMPLES, len(counts)))
    weights = np.stack([np.bincount(pick, minlength=len(counts)) for pick in picks])  # (R, E)
    weights = np.concatenate([np.ones((1, len(counts))), weights])  # row 0: the data as they are
    summary: dict[str, Any] = {}
    for name, parts in sums.items():
        total = np.einsum("re,ekca->rkca", weights, np.stack(parts))
        mean = total / (weights @ counts)[:, None, :, None]  # (1 + R, kind, range, A)
        mean[:, 1] **= 0.5
        low, high = np.quantile(mean[1:], (0.025, 0.975), axis=0)
        summary[name] = {
            f"{kind}_{part}": {
                "value": mean[0, i, j].tolist(),
                "low": low[i, j].tolist(),
                "high": high[i, j].tolist(),
            }
            for i, kind in enumerate(("l1", "rmse"))
            for j, part in enumerate(("row_0", "chunk"))
        }
    return summary
