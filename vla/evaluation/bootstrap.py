"""Resampling intervals: two checkpoints on the same episodes, and several training runs.

Episodes tell how sure one checkpoint's rate is. They do not tell what another training
seed would have given; for that whole training runs are resampled, as Agarwal et al. ask
(Deep RL at the Edge of the Statistical Precipice, NeurIPS 2021; their code is `rliable`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vla.errors import DataError

RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap_difference[Task: Hashable, Seed: Hashable](
    first: Mapping[tuple[Task, Seed], bool],
    second: Mapping[tuple[Task, Seed], bool],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """BCa interval of rate(first) - rate(second) over the shared episodes, stratified by task.

    Each task's pairs are resampled among themselves, so the mixture of tasks stays as it is.
    A pair's difference is -1, 0 or 1; resampling such pairs is one multinomial draw per task.
    Bias correction and acceleration after Efron (JASA 82, 1987), the acceleration from the
    jackknife of every stratum.

    Args:
        first: success by (task, seed).
        second: the other's.
        confidence: two-sided, in (0, 1).
        resamples: bootstrap samples.
        seed: of the resampling; equal inputs give equal intervals.

    Returns:
        Bounds in [-1, 1]; None where resampling knows nothing: a task with a single pair, or
        no task whose pairs differ among themselves.

    Raises:
        DataError: no shared episode, or a confidence that makes no sense.
    """
    _check(confidence, resamples)
    tasks: dict[Task, list[int]] = {}
    for key in first.keys() & second.keys():
        tasks.setdefault(key[0], []).append(int(first[key]) - int(second[key]))
    if not tasks:
        raise DataError(
            "The two result sets share no episode; evaluate both on the same tasks and seeds."
        )
    strata = [np.array(tasks[task]) for task in sorted(tasks, key=repr)]
    if min(map(len, strata)) < 2 or all(np.ptp(stratum) == 0 for stratum in strata):
        return None
    n = sum(map(len, strata))
    rng = np.random.default_rng(seed)
    sums = np.zeros(resamples, np.int64)
    for stratum in strata:
        counts = [(stratum == value).sum() for value in (-1, 0, 1)]
        draws = rng.multinomial(len(stratum), np.divide(counts, len(stratum)), size=resamples)
        sums += draws[:, 2] - draws[:, 0]
    total = int(sum(stratum.sum() for stratum in strata))
    influences = np.concatenate([stratum - stratum.mean() for stratum in strata])
    low, high = _choose_quantiles(sums, total, influences, confidence)
    bounds = np.quantile(sums, (low, high), method="inverted_cdf") / n
    return float(bounds[0]), float(bounds[1])


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of all scores, whatever their shape.

    Unlike the mean it is not carried by one lucky run, unlike the median it uses half of the
    data.
    """
    from scipy.stats import trim_mean

    return float(trim_mean(np.asarray(scores, float), 0.25, axis=None))


def aggregate_runs(
    scores: np.ndarray,
    *,
    together: bool = True,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Interquartile mean over training seeds and tasks, with its percentile interval.

    Args:
        scores: float (training seeds, tasks), e.g. success rates.
        together: one training seed gives one policy for all tasks, so rows are resampled
            whole. False: every cell was trained by itself, and the seeds of each task are
            resampled for themselves, as `rliable` does; on rows that hang together that
            interval would be too narrow.
        confidence: two-sided, in (0, 1).
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        DataError: fewer than two training seeds, or scores that are not finite.
    """
    table = _read_scores(scores)

    def measure(tables: np.ndarray) -> np.ndarray:
        from scipy.stats import trim_mean

        return trim_mean(tables.reshape(len(tables), -1), 0.25, axis=1)

    return _resample(measure, [table], together, confidence, resamples, seed)


def estimate_improvement(
    first: np.ndarray,
    second: np.ndarray,
    *,
    together: bool = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Probability that a new training run of `first` beats one of `second` on a random task.

    A tie counts one half; the mean over tasks of the Mann-Whitney statistic. 0.5 says no
    difference; the interval speaks for new training seeds on these tasks.

    Args:
        first: float (training seeds, tasks).
        second: of the same tasks; the number of seeds may differ.
        together: as in `aggregate_runs`.
        confidence: two-sided, in (0, 1).
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        DataError: as `aggregate_runs`, or tables of different tasks.
    """
    tables = [_read_scores(first), _read_scores(second)]
    if tables[0].shape[1] != tables[1].shape[1]:
        raise DataError(
            f"Scores of {tables[0].shape[1]} and {tables[1].shape[1]} tasks; "
            "give the same tasks in the same order."
        )

    def measure(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        wins = np.sign(ours[:, :, None, :] - theirs[:, None, :, :])
        return (0.5 + wins / 2).mean(axis=(1, 2, 3))

    return _resample(measure, tables, together, confidence, resamples, seed)


def _resample(
    measure: Callable[..., np.ndarray],
    tables: Sequence[np.ndarray],
    together: bool,
    confidence: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """`measure` takes tables with a leading axis of resamples."""
    _check(confidence, resamples)
    rng = np.random.default_rng(seed)
    drawn = []
    for table in tables:
        runs, tasks = table.shape
        rows = rng.integers(runs, size=(resamples, runs, 1 if together else tasks))
        drawn.append(table[rows, np.arange(tasks)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(measure(*drawn), (tail, 1 - tail))
    value = measure(*(table[None] for table in tables))[0]
    return Estimate(value=float(value), low=float(low), high=float(high))


def _choose_quantiles(
    samples: np.ndarray, observed: int, influences: np.ndarray, confidence: float
) -> tuple[float, float]:
    """BCa: which quantiles of `samples` bound the interval."""
    from scipy.special import ndtr, ndtri

    # Counts tie often; half of the ties are below. Clipped, since ndtri(0) is infinite.
    below = (samples < observed).mean() + (samples == observed).mean() / 2
    bias = ndtri(np.clip(below, 1 / len(samples), 1 - 1 / len(samples)))
    acceleration = (influences**3).sum() / (6 * (influences**2).sum() ** 1.5)
    points = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = ndtr(bias + points / (1 - acceleration * points))
    return float(low), float(high)


def _read_scores(scores: np.ndarray) -> np.ndarray:
    table = np.asarray(scores, float)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
        raise DataError(
            f"Scores of shape {table.shape}; give (training seeds, tasks) with at least two "
            "seeds: one training run says nothing about the next."
        )
    if not np.isfinite(table).all():
        raise DataError("Some scores are not finite; leave out runs that did not finish.")
    return table


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise DataError(f"confidence is {confidence}; it must lie between 0 and 1.")
    if resamples < 100:
        raise DataError(f"{resamples} resamples are too few for an interval; give 100 or more.")
