import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla.errors import DataError
from vla.evaluation.power import (
    describe_power,
    detectable_difference,
    power_paired,
    power_unpaired,
    required_episodes,
)
from vla.evaluation.statistics import mcnemar_exact


@pytest.mark.parametrize(
    ("n", "difference", "discordance"),
    [(40, 0.25, 0.4), (100, 0.1, 0.3), (100, 0.0, 0.5), (30, 0.5, 0.5)],
)
def test_paired_power_is_the_share_of_simulated_tests_that_reject(n, difference, discordance):
    rng = np.random.default_rng(0)
    won, lost = (discordance + difference) / 2, (discordance - difference) / 2
    cells = rng.multinomial(n, (won, lost, 1 - won - lost), size=20_000)
    kinds, counts = np.unique(cells[:, :2], axis=0, return_counts=True)
    rejected = np.array([mcnemar_exact(int(b), int(c)) < 0.05 for b, c in kinds])
    simulated = counts[rejected].sum() / 20_000
    expected = power_paired(n, difference, discordance=discordance)
    assert expected == pytest.approx(simulated, abs=0.012)  # 3.4 standard errors
    if difference == 0:
        assert expected <= 0.05


@pytest.mark.parametrize(
    ("n", "difference", "rate"), [(50, 0.3, 0.5), (200, 0.1, 0.5), (200, 0.0, 0.4)]
)
def test_unpaired_power_is_the_share_of_simulated_tests_that_reject(n, difference, rate):
    rng = np.random.default_rng(0)
    first = rng.binomial(n, rate + difference / 2, 20_000) / n
    second = rng.binomial(n, rate - difference / 2, 20_000) / n
    mean = (first + second) / 2
    z = np.abs(first - second) / np.sqrt(2 * mean * (1 - mean) / n)
    simulated = np.mean(z > 1.959964)
    assert power_unpaired(n, difference, rate=rate) == pytest.approx(simulated, abs=0.02)


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0.01, 1))
@settings(max_examples=60)
def test_power_is_a_chance_that_grows_with_the_difference(n, difference, discordance):
    power = power_paired(n, difference, discordance=discordance)
    assert -1e-12 <= power <= 1 + 1e-12
    assert power == pytest.approx(power_paired(n, -difference, discordance=discordance))
    more = power_paired(n, min(1.0, difference + 0.1), discordance=discordance)
    assert more >= power - 1e-9


@given(st.integers(20, 400), st.booleans(), st.floats(0.5, 0.95))
@settings(max_examples=25)
def test_the_detectable_difference_has_the_power_asked_for(n, paired, power):
    found = detectable_difference(n, paired=paired, power=power)
    test = power_paired if paired else power_unpaired
    assert test(n, found) == pytest.approx(power, abs=1e-3)
    assert test(n, 0.9 * found) < power


@given(st.floats(0.08, 0.9), st.booleans())
@settings(max_examples=25)
def test_required_episodes_are_enough_and_one_fewer_is_not(difference, paired):
    test = power_paired if paired else power_unpaired
    n = required_episodes(difference, paired=paired)
    assert test(n, difference) >= 0.8
    assert n == 1 or test(n - 1, difference) < 0.8


def test_required_episodes_agree_with_the_published_formula():
    # Connor, Biometrics 43, 1987: the normal approximation; the exact test needs a few more.
    difference, share = 0.1, 0.3
    connor = (1.959964 * share**0.5 + 0.841621 * (share - difference**2) ** 0.5) ** 2
    connor /= difference**2
    assert connor < required_episodes(difference, discordance=share) < 1.08 * connor


def test_pairs_that_agree_more_need_fewer_episodes():
    needed = [required_episodes(0.1, discordance=share) for share in (0.1, 0.2, 0.5)]
    assert needed == sorted(needed)
    assert needed[0] * 4 < needed[2]


def test_what_cannot_be_shown_is_not_promised():
    assert detectable_difference(5) is None  # five pairs all one way: p = 0.0625
    assert power_paired(5, 1.0) == 0
    assert power_paired(6, 1.0) == 1
    assert required_episodes(1e-5) is None
    assert "too few to show any" in describe_power(5, 1)
    assert describe_power(50, 4).startswith("200 episodes: another run on the same seeds")
    assert "\n" not in describe_power(50, 4)
    assert "within one task" in describe_power(50, 4)
    assert "within" not in describe_power(50, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_paired(0, 0.1), "n = 0"),
        (lambda: power_paired(9, 1.5), "difference = 1.5"),
        (lambda: power_paired(9, 0.1, discordance=0), "discordance is 0"),
        (lambda: power_unpaired(9, 0.5, rate=0.1), "leaves the range"),
        (lambda: detectable_difference(9, power=0.01), "power is 0.01"),
        (lambda: required_episodes(0), "difference is 0"),
        (lambda: required_episodes(0.1, power=1), "power is 1"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(DataError, match=message):
        call()
