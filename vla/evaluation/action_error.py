"""How far a policy's plans are from those of another one, on the same observations."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from vla.contract import Policy
from vla.data.store import TrajectoryStore
from vla.errors import DataError
from vla.evaluation.open_loop import observe
from vla.types import Float32, Observation


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionError:
    """Absolute differences of planned actions, as parts of each axis's normalised range.

    Attributes:
        observations: planned from.
        mean, p99, worst: over all entries of all plans.
        axes: mean by axis name.
    """

    observations: int
    mean: float
    p99: float
    worst: float
    axes: dict[str, float]

    def to_json(self) -> dict:
        """Plain JSON values."""
        return asdict(self)


def measure_action_error(
    candidate: Policy,
    reference: Policy,
    observations: Sequence[Observation],
    *,
    ranges: Float32,
    batch: int = 8,
) -> ActionError:
    """Plan with both from equal observations and seeds.

    Args:
        candidate: the one that is judged.
        reference: of the same embodiment.
        observations: held out from training and from calibration.
        ranges: (A,), what counts as 1 on each axis, in its unit: e.g. q99 - q01 of the data.
        batch: observations per call.

    Raises:
        DataError: without observations, or for a plan that is not finite.
    """
    if not observations:
        raise DataError("There is no held-out observation to compare plans on.")
    parts = []
    for begin in range(0, len(observations), batch):
        some = observations[begin : begin + batch]
        seeds = list(range(begin, begin + len(some)))
        ours, theirs = (
            np.stack([chunk.actions for chunk in policy.act(some, seeds=seeds)])
            for policy in (candidate, reference)
        )
        parts.append(np.abs(ours - theirs) / ranges)
    error = np.concatenate(parts).astype(np.float64)
    if not np.isfinite(error).all():
        raise DataError("A plan is not finite; the candidate cannot be used.")
    names = [axis.name for axis in reference.embodiment.action]
    return ActionError(
        observations=len(observations),
        mean=float(error.mean()),
        p99=float(np.quantile(error, 0.99)),
        worst=float(error.max()),
        axes=dict(zip(names, error.mean((0, 1)).tolist(), strict=True)),
    )


def draw_observations(
    store: TrajectoryStore, episodes: Sequence[int], count: int, *, history: int, seed: int = 0
) -> list[Observation]:
    """Observations from random steps of random episodes, as a policy would have seen them.

    Raises:
        DataError: when there is no episode.
    """
    if not len(episodes):
        raise DataError(f"{store.location} has no episode in this split; add some, or split anew.")
    rng = np.random.default_rng(seed)
    picked = np.sort(rng.choice(np.asarray(episodes), count, replace=count > len(episodes)))
    found = []
    for index in np.unique(picked):
        trajectory = store.episode(int(index))
        steps = rng.integers(0, len(trajectory), int((picked == index).sum()))
        found += [observe(trajectory, int(step), history) for step in steps]
    return found
