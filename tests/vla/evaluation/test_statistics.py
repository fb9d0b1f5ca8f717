import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from vla.errors import DataError
from vla.evaluation.statistics import (
    compare_paired,
    mcnemar_exact,
    newcombe_interval,
    wilson_interval,
)

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.floats(0.5, 0.999))
def test_wilson_agrees_with_scipy(pair, confidence):
    successes, n = pair
    low, high = wilson_interval(successes, n, confidence)
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


@given(counts)
def test_wilson_mirrors_failures(pair):
    successes, n = pair
    low, high = wilson_interval(successes, n)
    mirrored = wilson_interval(n - successes, n)
    assert (1 - high, 1 - low) == pytest.approx(mirrored)


@pytest.mark.parametrize("n", [10, 25, 50, 100])
def test_wilson_covers_about_as_often_as_promised(n):
    # Exact coverage: the probability of all counts whose interval holds the true rate.
    bounds = np.array([wilson_interval(k, n) for k in range(n + 1)])
    rates = np.linspace(0.02, 0.98, 193)
    covered = [
        binom.pmf(np.arange(n + 1), n, p)[(bounds[:, 0] <= p) & (p <= bounds[:, 1])].sum()
        for p in rates
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)
    assert min(covered) > 0.82


def test_wilson_known_numbers_and_errors():
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(0, 20)[1] == pytest.approx(0.1611, abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(DataError, match="not a proportion"):
        wilson_interval(3, 2)
    with pytest.raises(DataError, match="confidence"):
        wilson_interval(1, 2, 1.5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_counts_only_discordant_pairs(b, c):
    p = mcnemar_exact(b, c)
    assert 0 < p <= 1
    assert p == pytest.approx(mcnemar_exact(c, b))
    tail = 2 * binom.cdf(min(b, c), b + c, 0.5)
    assert p == pytest.approx(min(1.0, tail))


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(lambda cells: sum(cells) > 0))
def test_newcombe_holds_the_difference_and_flips_sign(cells):
    both, b, c, neither = cells
    low, high = newcombe_interval(both, b, c, neither)
    difference = (b - c) / sum(cells)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    assert newcombe_interval(both, c, b, neither) == pytest.approx((-high, -low))


def test_newcombe_reproduces_the_published_example():
    # Newcombe 1998, table III, method 10: cells 36, 12, 2, 0.
    assert newcombe_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=2e-4)


def test_newcombe_covers_about_as_often_as_promised():
    rng = np.random.default_rng(0)
    cells = (0.4, 0.25, 0.1, 0.25)
    draws = rng.multinomial(40, cells, size=2000)
    bounds = np.array([newcombe_interval(*map(int, draw)) for draw in draws])
    covered = np.mean((bounds[:, 0] <= 0.15) & (bounds[:, 1] >= 0.15))
    assert 0.93 < covered < 0.98


def test_pairs_are_matched_by_key():
    first = {("a", 1): True, ("a", 2): True, ("a", 3): False, ("b", 1): True}
    second = {("a", 2): False, ("a", 1): True, ("a", 3): True, ("c", 1): False}
    result = compare_paired(first, second)
    assert (result.n, result.unpaired) == (3, 2)
    assert (result.both, result.only_first, result.only_second, result.neither) == (1, 1, 1, 0)
    assert result.difference == 0
    assert result.p_value == 1
    assert result.rates == pytest.approx((2 / 3, 2 / 3))
    with pytest.raises(DataError, match="share no episode"):
        compare_paired({1: True}, {2: True})
