"""The job of `vla leaderboard`."""

from dataclasses import dataclass

from omegaconf import MISSING

from vla.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class LeaderboardJob:
    """Rank all evaluations below a folder, as far as the data order them, on one page.

    Attributes:
        runs: a folder; every finished run of `vla eval` below it takes part. Runs on other
            scenes stand in a list of their own.
        alpha: chance of any false verdict between two runs.
        title: heading of the page.
        output: the page; "" puts leaderboard.html into `runs`.
    """

    runs: str = MISSING
    alpha: float = 0.05
    title: str = "Leaderboard"
    output: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha is {self.alpha}; it must lie between 0 and 1.")
