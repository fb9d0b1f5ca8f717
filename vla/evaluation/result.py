"""What an evaluation found out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vla.errors import DataError
from vla.evaluation.journal import EpisodeResult, Journal
from vla.evaluation.statistics import wilson_interval
from vla.files import write_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A success rate with its 95 % Wilson interval."""

    n: int
    successes: int
    rate: float
    low: float
    high: float

    @classmethod
    def count(cls, episodes: Iterable[EpisodeResult]) -> "Rate":
        """Rate over `episodes`; NaN-free: none at all give rate 0 and the interval (0, 1)."""
        verdicts = [episode.success for episode in episodes]
        n, successes = len(verdicts), sum(verdicts)
        low, high = wilson_interval(successes, n)
        return cls(n=n, successes=successes, rate=successes / max(n, 1), low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Episodes of one policy, with where they come from.

    Attributes:
        episodes: one per task and seed, in the order asked for.
        setup: what decides the outcomes (see `provenance.describe_setup`).
        host: the machine, seeds and options that only decide how long it takes.
        timing: of the last run into the directory, which may have added to an earlier one.
        directory: where episodes, videos and result lie.
    """

    episodes: list[EpisodeResult]
    setup: dict[str, Any]
    host: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    directory: Path | None = None

    @property
    def tasks(self) -> dict[str, Rate]:
        """Rate by task, in the order asked for."""
        names = dict.fromkeys(episode.task for episode in self.episodes)
        return {
            name: Rate.count(episode for episode in self.episodes if episode.task == name)
            for name in names
        }

    @property
    def pooled(self) -> Rate:
        """All episodes in one; its interval treats them as draws from one mixture of tasks."""
        return Rate.count(self.episodes)

    @property
    def mean_rate(self) -> float:
        """Mean of the tasks' rates, each task counting alike."""
        rates = [rate.rate for rate in self.tasks.values()]
        return sum(rates) / max(len(rates), 1)

    def mean_groups(self, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """By group, the mean rate of its tasks, and as "mean_of_groups" the mean of those.

        The second is what public Meta-World tables call the average: a group of five tasks counts
        as much as one of twenty-eight. Tasks that were not run are left out.
        """
        rates = {name: rate.rate for name, rate in self.tasks.items()}
        means = {}
        for group, tasks in groups.items():
            found = [rates[task] for task in tasks if task in rates]
            if found:
                means[group] = sum(found) / len(found)
        return {**means, "mean_of_groups": sum(means.values()) / len(means)} if means else {}

    @property
    def verdicts(self) -> dict[tuple[str, int], bool]:
        """Success by (task, seed), for paired comparisons."""
        return {(episode.task, episode.seed): episode.success for episode in self.episodes}

    def _seeds_by_task(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for episode in self.episodes:
            found.setdefault(episode.task, []).append(episode.seed)
        return found

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return {
            "tasks": {name: asdict(rate) for name, rate in self.tasks.items()},
            "pooled": asdict(self.pooled),
            "mean_rate": self.mean_rate,
            "interval": "Wilson score, 95 %",
            "seeds": max(self._seeds_by_task().values(), key=len, default=[]),
            "setup": self.setup,
            "host": self.host,
            "timing": self.timing,
        }

    def save(self, directory: Path) -> None:
        """Write result.json atomically."""
        write_json(directory / "result.json", self.to_json())

    @classmethod
    def load(cls, directory: str | Path) -> "Evaluation":
        """Read what `evaluate` has written.

        Raises:
            DataError: when there is no finished evaluation.
        """
        directory = Path(directory)
        path = directory / "result.json"
        if not path.exists():
            raise DataError(f"{path} does not exist; run the evaluation to its end first.")
        stored = json.loads(path.read_text(encoding="utf-8"))
        journal = Journal(directory / "episodes.jsonl").episodes
        # A task that finished early has the first of the seeds only.
        wanted = [
            (task, seed) for task, rate in stored["tasks"].items()
            for seed in stored["seeds"][: rate["n"]]
        ]  # fmt: skip
        missing = [key for key in wanted if key not in journal]
        if missing:
            raise DataError(f"{directory}: episodes.jsonl lacks {missing[:3]}, named in {path}.")
        return cls(
            episodes=[journal[key] for key in wanted],
            setup=stored["setup"],
            host=stored["host"],
            timing=stored["timing"],
            directory=directory,
        )
