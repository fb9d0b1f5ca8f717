"""Binomial intervals and paired tests for success rates.

A success rate without its interval says little: 8 of 10 is anything from 49 % to
94 %. Two conditions run on the same seeds are compared episode by episode, which
needs far fewer episodes than two separate rates.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import sqrt

from vla.errors import DataError


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (JASA 22, 1927), without continuity correction.

    Args:
        successes: in 0..n.
        n: number of trials; 0 gives (0, 1), nothing is known.
        confidence: two-sided coverage in (0, 1).

    Returns:
        Bounds in [0, 1], around successes / n.

    Raises:
        DataError: counts or confidence that make no sense.
    """
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n} trials is not a proportion.")
    if not 0 < confidence < 1:
        raise DataError(f"confidence is {confidence}; it must lie between 0 and 1.")
    if n == 0:
        return 0.0, 1.0
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding must not push the bound of an extreme rate past the rate itself.
    return max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate))


def exact_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval (Biometrika 26, 1934): covers at least as often as it says.

    Wilson's covers as often on average and is shorter, but dips near rates of 0 and 1. Take this
    one where "at least" is claimed, e.g. a bound that a safety case rests on. Arguments, result
    and errors as for `wilson_interval`.
    """
    wilson_interval(successes, n, confidence)  # checks the arguments
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test: p-value of the discordant pairs under a fair coin.

    Args:
        only_first: pairs in which only the first condition succeeded.
        only_second: pairs in which only the second did.

    Returns:
        p in (0, 1]; 1 when there are no discordant pairs.
    """
    if min(only_first, only_second) < 0:
        raise DataError(f"Negative pair counts: {only_first}, {only_second}.")
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, discordant).pvalue)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedComparison:
    """Two conditions on the same episodes.

    Attributes:
        n: pairs compared; `unpaired` were run under one condition only and left out.
        both, only_first, only_second, neither: how the pairs fell.
        difference: success rate of the first minus that of the second, over the pairs.
        low, high: its interval (Newcombe, see `newcombe_interval`).
        p_value: exact McNemar.
    """

    n: int
    unpaired: int
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def rates(self) -> tuple[float, float]:
        """Success rates of the first and the second condition over the pairs."""
        return (self.both + self.only_first) / self.n, (self.both + self.only_second) / self.n


def compare_paired[Key: Hashable](
    first: Mapping[Key, bool], second: Mapping[Key, bool], confidence: float = 0.95
) -> PairedComparison:
    """Compare two result sets keyed alike, e.g. by (task, seed).

    Raises:
        DataError: when no key is in both.
    """
    keys = first.keys() & second.keys()
    if not keys:
        raise DataError(
            "The two result sets share no episode; evaluate both on the same tasks and seeds."
        )
    pairs = [(bool(first[key]), bool(second[key])) for key in keys]
    both, only_first = pairs.count((True, True)), pairs.count((True, False))
    only_second, neither = pairs.count((False, True)), pairs.count((False, False))
    low, high = newcombe_interval(both, only_first, only_second, neither, confidence)
    return PairedComparison(
        n=len(pairs),
        unpaired=len(first.keys() ^ second.keys()),
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=(only_first - only_second) / len(pairs),
        low=low,
        high=high,
        p_value=mcnemar_exact(only_first, only_second),
    )


def newcombe_interval(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of a difference of paired proportions: Newcombe's method 10.

    Square-and-add of the two Wilson intervals, corrected for the pairs' correlation
    (Newcombe, Statistics in Medicine 17, 1998, 2635-2650).

    Returns:
        Bounds in [-1, 1] of rate(first) - rate(second).
    """
    n = both + only_first + only_second + neither
    wins_first, wins_second = both + only_first, both + only_second
    low_1, high_1 = wilson_interval(wins_first, n, confidence)
    low_2, high_2 = wilson_interval(wins_second, n, confidence)
    rate_1, rate_2 = wins_first / n, wins_second / n
    product = wins_first * (n - wins_first) * wins_second * (n - wins_second)
    excess = both * neither - only_first * only_second
    if excess > 0:
        excess = max(excess - n / 2, 0)  # the paper's continuity correction of phi
    phi = excess / sqrt(product) if product else 0.0

    def combine(a: float, b: float) -> float:
        return sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = rate_1 - rate_2
    low = difference - combine(rate_1 - low_1, high_2 - rate_2)
    high = difference + combine(high_1 - rate_1, rate_2 - low_2)
    return max(-1.0, low), min(1.0, high)
