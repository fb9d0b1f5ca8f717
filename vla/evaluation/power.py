"""How small a difference a number of episodes can show, known before they are run.

Paired: both policies on the same (task, seed), judged by the exact McNemar test. Unpaired:
two separate rates, judged by the two-sided z-test of proportions.

Pairs help as far as outcomes go together. `discordance` is the share of pairs that only one
of the two solves: 0.5 when two policies of success 1/2 have nothing in common, which is the
worst case worth planning for; two checkpoints of one kind often come to 0.1 or 0.2.
"""

from math import ceil, sqrt

import numpy as np

from vla.errors import DataError

MOST = 1_000_000  # episodes; nobody runs more


def power_paired(
    n: int, difference: float, *, discordance: float = 0.5, alpha: float = 0.05
) -> float:
    """Chance that the exact McNemar test of n pairs has p < alpha, whichever side wins.

    Exact: summed over the number of discordant pairs and how they fall.

    Args:
        n: pairs.
        difference: true success rate of one policy minus that of the other.
        discordance: probability that only one of the two solves an episode; taken as
            |difference| where it is given smaller, since it cannot be.
        alpha: level of the test.

    Raises:
        DataError: numbers that make no sense.
    """
    from scipy.stats import binom

    _check(n, difference, alpha)
    if not 0 < discordance <= 1:
        raise DataError(f"discordance is {discordance}; it must lie above 0, at most 1.")
    share = max(discordance, abs(difference))
    won = (1 + difference / share) / 2  # chance that a discordant pair goes to the first
    middle, spread = n * share, 10 * sqrt(n * share * (1 - share)) + 20  # the rest is nothing
    counts = np.arange(max(0, int(middle - spread)), min(n, ceil(middle + spread)) + 1)
    # The largest k whose two-sided p-value, 2 P(K <= k) under a fair coin, is below alpha.
    critical = binom.ppf(alpha / 2, counts, 0.5).astype(int)
    critical -= binom.cdf(critical, counts, 0.5) >= alpha / 2
    rejects = binom.cdf(critical, counts, won) + binom.sf(counts - critical - 1, counts, won)
    return float((binom.pmf(counts, n, share) * rejects).sum())


def power_unpaired(n: int, difference: float, *, rate: float = 0.5, alpha: float = 0.05) -> float:
    """Chance that the z-test of two rates, n episodes each, has p < alpha; normal approximation.

    Args:
        n: episodes of each policy.
        difference: true difference of the two success rates.
        rate: mean of the two rates; 0.5 is the worst case.
        alpha: level of the test.

    Raises:
        DataError: numbers that make no sense.
    """
    from scipy.special import ndtr, ndtri

    _check(n, difference, alpha)
    low, high = rate - abs(difference) / 2, rate + abs(difference) / 2
    if not 0 <= low <= high <= 1 or not 0 < rate < 1:
        raise DataError(
            f"A difference of {difference} about a mean rate of {rate} leaves the range 0 to 1."
        )
    equal = sqrt(2 * rate * (1 - rate))
    # Two rates of 0 and 1 do not scatter at all; a tiny spread stands for none.
    spread = max(sqrt(low * (1 - low) + high * (1 - high)), 1e-9)
    shift, edge = abs(difference) * sqrt(n), ndtri(1 - alpha / 2) * equal
    return float(ndtr((shift - edge) / spread) + ndtr((-shift - edge) / spread))


def detectable_difference(
    n: int,
    *,
    paired: bool = True,
    discordance: float = 0.5,
    rate: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float | None:
    """The smallest true difference that n pairs, or n episodes each, show with `power`.

    Args:
        n: pairs, or episodes of each policy.
        paired: which test.
        discordance: for pairs, see `power_paired`.
        rate: for two separate rates, see `power_unpaired`.
        power: chance of finding it, above alpha and below 1.
        alpha: level of the test.

    Returns:
        In (0, 1]; None when no difference would be found so often.

    Raises:
        DataError: numbers that make no sense.
    """
    from scipy.optimize import brentq

    if not alpha < power < 1:
        raise DataError(f"power is {power}; it must lie between alpha = {alpha} and 1.")

    def lack(difference: float) -> float:
        if paired:
            return power_paired(n, difference, discordance=discordance, alpha=alpha) - power
        return power_unpaired(n, difference, rate=rate, alpha=alpha) - power

    most = 1.0 if paired else 2 * min(rate, 1 - rate)
    if lack(most) < 0:
        return None
    return float(brentq(lack, 0.0, most, xtol=1e-6))  # at 0 the power is at most alpha


def required_episodes(
    difference: float,
    *,
    paired: bool = True,
    discordance: float = 0.5,
    rate: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int | None:
    """Pairs, or episodes of each policy, that show `difference` with `power`.

    The power of an exact test is a saw-tooth in n: this n has it and n - 1 lacks it, but a
    somewhat smaller one may happen to have it too.

    Args:
        difference: not 0; its sign does not matter.
        paired: which test.
        discordance: for pairs, see `power_paired`.
        rate: for two separate rates, see `power_unpaired`.
        power: chance of finding it, above alpha and below 1.
        alpha: level of the test.

    Returns:
        The number; None when a million would not do.

    Raises:
        DataError: numbers that make no sense.
    """
    if not 0 < abs(difference) <= 1:
        raise DataError(f"difference is {difference}; give one between 0 and 1, not 0.")
    if not alpha < power < 1:
        raise DataError(f"power is {power}; it must lie between alpha = {alpha} and 1.")

    def suffices(n: int) -> bool:
        if paired:
            return power_paired(n, difference, discordance=discordance, alpha=alpha) >= power
        return power_unpaired(n, difference, rate=rate, alpha=alpha) >= power

    lacking, enough = 0, 1
    while not suffices(enough):
        lacking, enough = enough, 2 * enough
        if enough > MOST:
            return None
    while enough - lacking > 1:
        middle = (lacking + enough) // 2
        lacking, enough = (lacking, middle) if suffices(middle) else (middle, enough)
    return enough


def describe_power(episodes: int, tasks: int, *, power: float = 0.8, alpha: float = 0.05) -> str:
    """One sentence to read before an evaluation is started.

    Args:
        episodes: per task.
        tasks: how many.
        power: chance of finding the difference.
        alpha: level of the test.
    """
    total = episodes * tasks
    found, alone = (detectable_difference(n, power=power, alpha=alpha) for n in (total, episodes))
    if found is None:
        return f"{total} episodes: too few to show any difference from another run."
    one = (
        f" ({'none' if alone is None else ceil(100 * alone)} within one task)" if tasks > 1 else ""
    )
    return (
        f"{total} episodes: another run on the same seeds must differ by {ceil(100 * found)} "
        f"points{one} to be told apart {round(100 * power)} times in 100; by less where both "
        "solve mostly the same scenes."
    )


def _check(n: int, difference: float, alpha: float) -> None:
    if n < 1 or not -1 <= difference <= 1 or not 0 < alpha < 1:
        raise DataError(
            f"n = {n}, difference = {difference}, alpha = {alpha}: n must be at least 1, the "
            "difference between -1 and 1, alpha between 0 and 1."
        )
