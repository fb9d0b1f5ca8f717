import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, mannwhitneyu

from vla.errors import DataError
from vla.evaluation.bootstrap import (
    aggregate_runs,
    bootstrap_difference,
    estimate_improvement,
    interquartile_mean,
)

pairs = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 30)), st.tuples(st.booleans(), st.booleans())
).filter(bool)


def split(verdicts):
    return {k: v[0] for k, v in verdicts.items()}, {k: v[1] for k, v in verdicts.items()}


def draw(rng, n, only_first, only_second):
    kinds = rng.choice(3, n, p=(only_first, only_second, 1 - only_first - only_second))
    return {("a", i): (bool(k == 0), bool(k == 1)) for i, k in enumerate(kinds)}


@given(pairs)
@settings(max_examples=60)
def test_difference_lies_in_range_and_nearly_flips_sign(verdicts):
    first, second = split(verdicts)
    interval = bootstrap_difference(first, second, resamples=4000)
    flipped = bootstrap_difference(second, first, resamples=4000)
    if interval is None:
        assert flipped is None
        return
    difference = np.mean([a - b for a, b in verdicts.values()])
    assert -1 <= interval[0] <= difference + 1e-12
    assert difference - 1e-12 <= interval[1] <= 1
    # The quantiles of so few values jump; two episodes' worth is all they may move.
    assert flipped == pytest.approx((-interval[1], -interval[0]), abs=2.01 / len(verdicts))


def test_difference_agrees_with_scipy_within_one_stratum():
    verdicts = draw(np.random.default_rng(3), 120, 0.3, 0.1)
    values = np.array([int(a) - int(b) for a, b in verdicts.values()])
    expected = bootstrap(
        (values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap_difference(*split(verdicts), resamples=20_000)
    assert found == pytest.approx((expected.low, expected.high), abs=1.01 / 120)


def test_strata_keep_the_mixture_of_tasks():
    # Each task is decided but for one pair; only mixing tasks could move the difference much.
    verdicts = {("a", i): (True, False) for i in range(40)}
    verdicts |= {("b", i): (False, True) for i in range(40)}
    verdicts["a", 0] = (True, True)
    low, high = bootstrap_difference(*split(verdicts))
    assert -0.09 < low <= -1 / 80 <= high < 0.04
    one = {("a", seed + 100 * (task == "b")): v for (task, seed), v in verdicts.items()}
    wide = bootstrap_difference(*split(one))
    assert wide[1] - wide[0] > 4 * (high - low)


def test_difference_covers_about_as_often_as_promised():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = bootstrap_difference(*split(draw(rng, 80, 0.3, 0.15)), resamples=1000)
        hits += low <= 0.15 <= high
    assert 0.91 < hits / 400 < 0.985


def test_resampling_that_knows_nothing_says_so():
    alike = {("a", i): True for i in range(9)}
    assert bootstrap_difference(alike, alike) is None
    single = {**alike, ("b", 0): True}
    assert bootstrap_difference(single, {**single, ("a", 0): False}) is None
    with pytest.raises(DataError, match="share no episode"):
        bootstrap_difference(alike, {("c", 1): True})
    with pytest.raises(DataError, match="confidence"):
        bootstrap_difference(alike, alike, confidence=95)
    with pytest.raises(DataError, match="too few"):
        bootstrap_difference(alike, alike, resamples=10)


def test_the_interquartile_mean_ignores_the_outer_quarters():
    assert interquartile_mean(np.array([[0, 1, 2, 3], [4, 5, 6, 700]])) == pytest.approx(3.5)
    found = aggregate_runs(np.array([[0.0, 0.2], [0.4, 0.4], [0.4, 0.4], [0.9, 1.0]]))
    assert found.value == pytest.approx(0.4)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_rows_that_hang_together_have_a_wider_interval():
    rng = np.random.default_rng(0)
    scores = rng.normal(0.5, 0.1, (6, 1)) + rng.normal(0, 0.01, (6, 8))
    whole, apart = (aggregate_runs(scores, together=choice) for choice in (True, False))
    assert whole.value == apart.value
    assert whole.high - whole.low > 1.5 * (apart.high - apart.low)


def test_the_interval_of_runs_covers():
    # Normal scores: the interquartile mean of the population is its mean. The percentile
    # interval of ten rows is known to be somewhat short; of five it is worse.
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        scores = rng.normal(0, 1, (10, 1)) + rng.normal(0, 0.3, (10, 4))
        found = aggregate_runs(scores, resamples=500)
        hits += found.low <= 0 <= found.high
    assert 0.85 < hits / 200 < 0.99


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000))
@settings(max_examples=30)
def test_improvement_is_the_mann_whitney_statistic(m, n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, (m, 3)) / 4, rng.integers(0, 4, (n, 3)) / 4
    found = estimate_improvement(x, y, resamples=200)
    expected = np.mean([mannwhitneyu(a, b).statistic for a, b in zip(x.T, y.T, strict=True)])
    assert found.value == pytest.approx(expected / (m * n))
    assert 0 <= found.low <= found.high <= 1
    assert estimate_improvement(y, x, resamples=200).value == pytest.approx(1 - found.value)


def test_a_clear_improvement_is_certain_and_mistakes_are_named():
    better, worse = np.full((3, 2), 0.9), np.full((4, 2), 0.1)
    found = estimate_improvement(better, worse)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    with pytest.raises(DataError, match="2 and 3 tasks"):
        estimate_improvement(better, np.zeros((3, 3)))
    with pytest.raises(DataError, match="at least two"):
        aggregate_runs(np.zeros((1, 4)))
    with pytest.raises(DataError, match="not finite"):
        aggregate_runs(np.array([[0.1], [np.nan]]))
