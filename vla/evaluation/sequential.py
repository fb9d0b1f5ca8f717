"""Comparing two policies while the episodes come in, looking as often as one likes.

A p-value that is looked at after every episode falls below 0.05 sooner or later even when
there is nothing to find. An e-process may be looked at always: it is the capital of somebody
who bets against "both are equally good" at fair odds, and the chance that such capital ever
reaches 1/alpha is at most alpha (Ville's inequality, 1939; Ramdas et al., Statistical Science
38, 2023). Only pairs that one policy alone solves carry a bet. Each is a fair coin when the
two are equally good; the bet is the mixture of all biased coins under Jeffreys' prior, which
asks for no guess of the effect (Robbins, Annals of Mathematical Statistics 41, 1970).

What is tested: that on every task, a pair is as likely to fall one way as the other. The
order of the episodes must not depend on their outcomes; interleave the tasks.
"""

from dataclasses import dataclass, field
from math import log
from typing import Literal

import numpy as np

from vla.errors import DataError

PRIOR = 0.5  # of the Beta prior on the coin's bias


def log_e_value(only_first: np.ndarray | int, only_second: np.ndarray | int) -> np.ndarray:
    """Natural logarithm of the e-process after so many discordant pairs; any shape.

    ln of: the integral of q^b (1-q)^c under the prior, over (1/2)^(b+c).
    """
    from scipy.special import betaln

    won, lost = np.asarray(only_first), np.asarray(only_second)
    return betaln(PRIOR + won, PRIOR + lost) - betaln(PRIOR, PRIOR) + (won + lost) * log(2)


@dataclass(kw_only=True, slots=True)
class SequentialComparison:
    """Feed it pairs in the order they were run; it may be asked and stopped at any time.

    Attributes:
        alpha: chance of ever naming a winner when the two are equally good, at most.
        n, only_first, only_second: pairs seen, and those that one policy alone solved.
        winner: "first" or "second" from the moment the evidence sufficed, and for good.
    """

    alpha: float = 0.05
    n: int = field(default=0, init=False)
    only_first: int = field(default=0, init=False)
    only_second: int = field(default=0, init=False)
    winner: Literal["first", "second"] | None = field(default=None, init=False)
    _highest: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        _check(self.alpha)

    def add(self, first: bool, second: bool) -> None:
        """Count one episode that both policies have run."""
        self.n += 1
        if first == second:
            return
        self.only_first += bool(first)
        self.only_second += bool(second)
        evidence = float(log_e_value(self.only_first, self.only_second))
        self._highest = max(self._highest, evidence)
        if self.winner is None and evidence >= -log(self.alpha):
            self.winner = "first" if self.only_first > self.only_second else "second"

    @property
    def p_value(self) -> float:
        """Valid whenever it is looked at: 1 over the highest e-value so far."""
        return float(np.exp(-self._highest))


@dataclass(frozen=True, kw_only=True, slots=True)
class SequentialPower:
    """How a sequential comparison would go.

    Attributes:
        first, second: share of the simulated comparisons that name this one the winner.
        median_pairs: pairs until a winner is named, over the comparisons that name one;
            None when none does.
    """

    first: float
    second: float
    median_pairs: float | None


def simulate_sequential(
    only_first: float,
    only_second: float,
    pairs: int,
    *,
    alpha: float = 0.05,
    runs: int = 10_000,
    seed: int = 0,
) -> SequentialPower:
    """Simulate comparisons that look after every pair and stop at the first winner.

    Args:
        only_first: probability that the first policy alone solves an episode.
        only_second: that the second alone does.
        pairs: episodes after which a comparison without winner is given up.
        alpha: as in `SequentialComparison`.
        runs: simulated comparisons; takes some 20 bytes times runs times pairs.
        seed: of the simulation.

    Raises:
        DataError: probabilities that make no sense.
    """
    _check(alpha)
    if min(only_first, only_second) < 0 or only_first + only_second > 1 or pairs < 1 or runs < 1:
        raise DataError(
            f"only_first = {only_first} and only_second = {only_second} must be probabilities "
            f"of sum at most 1; pairs = {pairs} and runs = {runs} at least 1."
        )
    draws = np.random.default_rng(seed).random((runs, pairs), np.float32)
    won = np.cumsum(draws < only_first, axis=1, dtype=np.int32)
    lost = np.cumsum(draws >= 1 - only_second, axis=1, dtype=np.int32)
    # The e-value for b wins and c losses is looked up: few values, many cells.
    b, c = np.ogrid[: won.max() + 1, : lost.max() + 1]
    crossed = (log_e_value(b, c) >= -log(alpha))[won, lost]
    decided = crossed.any(axis=1)
    when = crossed.argmax(axis=1)
    rows = np.flatnonzero(decided)
    ahead = won[rows, when[rows]] > lost[rows, when[rows]]
    return SequentialPower(
        first=float(ahead.sum() / runs),
        second=float((~ahead).sum() / runs),
        median_pairs=float(np.median(when[rows] + 1)) if len(rows) else None,
    )


def _check(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise DataError(f"alpha is {alpha}; it must lie between 0 and 1.")
