"""Do the intervals hold the truth as often as they say? Exact where it can be summed."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial

from vla.evaluation.statistics import (
    exact_interval,
    mcnemar_exact,
    newcombe_interval,
    wilson_interval,
)


@pytest.mark.parametrize("n", [10, 20, 50, 100, 200])
def test_wilson_covers_on_average_and_dips_only_near_the_ends(n):
    """Criterion: over a fine grid of true rates the mean coverage is at least the nominal
    0.95. Single rates lie below: never under 0.83, and that only next to 0 and 1 (the known
    dip; Brown, Cai and DasGupta, Statistical Science 16, 2001); from 0.1 to 0.9 never under
    0.91.
    """
    bounds = np.array([wilson_interval(k, n) for k in range(n + 1)])
    rates = np.linspace(0.0005, 0.9995, 2000)
    chances = binom.pmf(np.arange(n + 1)[:, None], n, rates)
    covered = (chances * ((bounds[:, :1] <= rates) & (rates <= bounds[:, 1:]))).sum(0)
    assert covered.mean() >= 0.95
    assert covered.min() > 0.83
    assert covered[(rates > 0.1) & (rates < 0.9)].min() > 0.91


@pytest.fixture(scope="module")
def tables():
    """Every way that 20 pairs can fall, and its interval."""
    n = 20
    cells = [(a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a)
             for c in range(n + 1 - a - b)]  # fmt: skip
    return np.array(cells), np.array([newcombe_interval(*cell) for cell in cells])


def test_newcombe_covers_on_average_and_never_dips_far(tables):
    """Criterion, exact for 20 pairs: over a grid of marginal rates and correlations the mean
    coverage is at least the nominal 0.95; no point of the grid is under 0.90.
    """
    cells, bounds = tables
    covered = []
    for first in np.linspace(0.1, 0.9, 9):
        for second in np.linspace(0.1, 0.9, 9):
            least, most = max(0.0, first + second - 1), min(first, second)
            for share in (0.5, 0.8):  # of the way to the strongest agreement
                both = least + share * (most - least)
                chances = (both, first - both, second - both, 1 - first - second + both)
                chances = np.clip(chances, 0, 1) / np.clip(chances, 0, 1).sum()
                held = (bounds[:, 0] <= first - second) & (first - second <= bounds[:, 1])
                covered.append(multinomial.pmf(cells[held], 20, chances).sum())
    assert np.mean(covered) >= 0.95
    assert min(covered) > 0.90


def test_mcnemar_is_the_binomial_test_of_a_fair_coin():
    for only_first in range(0, 30, 3):
        for only_second in range(0, 30, 4):
            if only_first + only_second:
                expected = binomtest(only_first, only_first + only_second, 0.5).pvalue
                assert mcnemar_exact(only_first, only_second) == pytest.approx(expected)


def test_mcnemar_rejects_equals_no_oftener_than_alpha():
    """Exact level for 60 pairs of equally good policies, whatever share is discordant."""
    levels = []
    for count in range(61):
        rejected = [k for k in range(count + 1) if mcnemar_exact(k, count - k) < 0.05]
        levels.append(binom.pmf(rejected, count, 0.5).sum())
    assert max(levels) <= 0.05
    for discordance in (0.05, 0.2, 0.6):
        level = binom.pmf(np.arange(61), 60, discordance) @ levels
        assert 0 < level < 0.045


@pytest.mark.parametrize("n", [10, 50, 200])
def test_the_exact_interval_covers_at_least_as_often_as_it_says(n):
    """Criterion: at no true rate under the nominal 0.95; and the bounds are scipy's."""
    bounds = np.array([exact_interval(k, n) for k in range(n + 1)])
    rates = np.linspace(0.0005, 0.9995, 2000)
    chances = binom.pmf(np.arange(n + 1)[:, None], n, rates)
    covered = (chances * ((bounds[:, :1] <= rates) & (rates <= bounds[:, 1:]))).sum(0)
    assert covered.min() >= 0.95
    for k in (0, 1, n // 2, n):
        expected = binomtest(k, n).proportion_ci(0.95, method="exact")
        assert bounds[k] == pytest.approx((expected.low, expected.high))
