"""The job of `vla compare`."""

from dataclasses import dataclass

from omegaconf import MISSING

from vla.errors import ConfigError, choose
from vla.evaluation.config import CONDITIONS


@dataclass(kw_only=True, slots=True)
class CompareJob:
    """Compare finished evaluations episode by episode on the scenes they share.

    No winner is named while the data do not say; then it says how many more episodes
    might. Runs on other scenes are refused. See docs/evaluation.md for every figure.

    Attributes:
        runs: two or more folders that `vla eval` has written.
        condition: which instruction condition of each run.
        alpha: chance of naming any false winner; intervals have confidence 1 - alpha.
        output: folder of comparison.json and report.html.
    """

    runs: list[str] = MISSING
    condition: str = "given"
    alpha: float = 0.05
    output: str = MISSING

    def __post_init__(self) -> None:
        choose("evaluation condition", self.condition, dict.fromkeys(CONDITIONS))
        if len(self.runs) < 2 or len(set(self.runs)) != len(self.runs):
            raise ConfigError(f"runs={self.runs}: give two or more folders, each once: runs=[A,B].")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha is {self.alpha}; it must lie between 0 and 1.")
