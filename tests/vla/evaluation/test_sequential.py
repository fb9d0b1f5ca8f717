from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta

from vla.errors import DataError
from vla.evaluation.sequential import (
    SequentialComparison,
    log_e_value,
    simulate_sequential,
)
from vla.evaluation.statistics import mcnemar_exact


@given(st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=30)
def test_the_e_value_is_the_mixture_it_claims_to_be(won, lost):
    # u = (2/pi) asin(sqrt(q)) is uniform when q follows Jeffreys' prior.
    def bet(u):
        q = np.sin(np.pi * u / 2) ** 2
        return (2 * q) ** won * (2 * (1 - q)) ** lost

    assert beta(0.5, 0.5).cdf(np.sin(np.pi * 0.3 / 2) ** 2) == pytest.approx(0.3)
    assert np.exp(log_e_value(won, lost)) == pytest.approx(quad(bet, 0, 1)[0], rel=1e-6)
    assert log_e_value(won, lost) == pytest.approx(log_e_value(lost, won))


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_capital_is_a_martingale_under_a_fair_coin(won, lost):
    now = log_e_value(won, lost)
    next_up, next_down = log_e_value(won + 1, lost), log_e_value(won, lost + 1)
    assert (np.exp(next_up - now) + np.exp(next_down - now)) / 2 == pytest.approx(1)


@pytest.mark.parametrize("discordant", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_looking_after_every_pair_keeps_the_promised_level(alpha, discordant):
    # 10,000 comparisons of equals, stopped at the first winner within 600 pairs.
    half = discordant / 2
    found = simulate_sequential(half, half, 600, alpha=alpha, runs=10_000)
    wrong = found.first + found.second
    assert 0 < wrong <= alpha
    assert abs(found.first - found.second) < 0.02


def test_a_plain_p_value_does_not_survive_looking():
    # The reason for all this, exact: the chances of 0..n wins of those who never saw p < 0.05.
    unseen = np.array([1.0])
    for n in range(1, 51):
        unseen = np.convolve(unseen, (0.5, 0.5))
        unseen[[mcnemar_exact(won, n - won) < 0.05 for won in range(n + 1)]] = 0
    assert 1 - unseen.sum() == pytest.approx(0.171, abs=0.001)


def test_power_over_the_simulated_comparisons():
    found = simulate_sequential(0.3, 0.1, 200)
    assert found.first > 0.92
    assert found.second < 0.005
    assert 50 < found.median_pairs < 100  # the full 200 are seldom needed
    assert simulate_sequential(0.0, 0.0, 10).median_pairs is None


def test_one_comparison_agrees_with_the_simulation():
    rng = np.random.default_rng(4)
    pairs = [(bool(a), bool(b)) for a, b in zip(rng.random(300) < 0.8, rng.random(300) < 0.5,
                                                 strict=True)]  # fmt: skip
    comparison = SequentialComparison()
    seen = []
    for first, second in pairs:
        comparison.add(first, second)
        seen.append(comparison.p_value)
    assert comparison.winner == "first"
    assert comparison.n == 300
    assert all(later <= earlier for earlier, later in pairwise(seen))
    assert comparison.p_value < 0.05
    won = comparison.only_first
    for _ in range(600):  # what was decided stays decided
        comparison.add(False, True)
    assert comparison.winner == "first"
    assert (comparison.only_first, comparison.n) == (won, 900)


def test_pairs_that_agree_carry_no_evidence():
    comparison = SequentialComparison(alpha=0.5)
    for verdict in (True, False) * 50:
        comparison.add(verdict, verdict)
    assert (comparison.n, comparison.p_value, comparison.winner) == (100, 1.0, None)


def test_mistakes_are_named():
    with pytest.raises(DataError, match="alpha is 5"):
        SequentialComparison(alpha=5)
    with pytest.raises(DataError, match="sum at most 1"):
        simulate_sequential(0.7, 0.4, 10)
