"""Many evaluations on one list, as far as the data order them.

Runs are compared only within an arena: the same world, step limit and scenes. Within it a rank is
an interval: a run is surely behind those that are better than it after correction, surely ahead of
those that are worse, and shares the rest with whom the data cannot tell it from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vla.errors import DataError
from vla.evaluation.comparison import RunComparison, compare_runs, describe_scene
from vla.evaluation.config import is_axis
from vla.evaluation.probes import LanguageUse, mean_figures, measure_language_use
from vla.evaluation.result import Evaluation

REFERENCE = "given"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One run.

    Attributes:
        name: of its folder, below the folder of all runs.
        folder: where it lies.
        conditions: its evaluations by condition, REFERENCE among them.
    """

    name: str
    folder: Path
    conditions: dict[str, Evaluation]

    @property
    def main(self) -> Evaluation:
        """The evaluation that ranks it."""
        return self.conditions[REFERENCE]

    @property
    def language(self) -> LanguageUse | None:
        """See `probes.measure_language_use`."""
        return measure_language_use(self.conditions)

    @property
    def axes(self) -> dict[str, float]:
        """Mean success over the levels of each perturbation axis that was run."""
        gathered: dict[str, list[float]] = {}
        for name, result in self.conditions.items():
            if is_axis(name):
                gathered.setdefault(name.partition(":")[0], []).append(result.pooled.rate)
        return {axis: sum(rates) / len(rates) for axis, rates in gathered.items()}

    @property
    def figures(self) -> dict[str, float]:
        """Means of what episodes count besides success."""
        return mean_figures(episode.figures for episode in self.main.episodes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """An entry's place: between `best` and `worst`, counted from 1."""

    entry: Entry
    best: int
    worst: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Arena:
    """Runs on the same scenes, the highest rate first, and every two of them compared."""

    standings: list[Standing]
    comparisons: list[RunComparison]


def find_entries(root: Path) -> list[Entry]:
    """Every finished run below `root`, by name.

    Raises:
        DataError: when there is none.
    """
    entries = []
    for path in sorted(root.rglob(f"{REFERENCE}/result.json")):
        folder = path.parents[1]
        conditions = {
            found.parent.name: Evaluation.load(found.parent)
            for found in sorted(folder.glob("*/result.json"))
        }
        name = str(folder.relative_to(root)) if folder != root else root.name
        entries.append(Entry(name=name, folder=folder, conditions=conditions))
    if not entries:
        raise DataError(
            f"No finished evaluation below {root}; `vla eval output=FOLDER` writes one."
        )
    return entries


def rank_entries(entries: list[Entry], *, alpha: float = 0.05) -> list[Arena]:
    """Arenas, the one with most runs first.

    Raises:
        DataError: when runs of one world share no episode, or their scenes differ.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        setup = entry.main.setup
        seeds = sorted({episode.seed for episode in entry.main.episodes})[0]
        tasks = sorted(entry.main.tasks)
        key = json.dumps([describe_scene(setup), tasks, seeds], sort_keys=True)
        groups.setdefault(key, []).append(entry)
    arenas = [_rank(group, alpha) for group in groups.values()]
    return sorted(arenas, key=lambda arena: -len(arena.standings))


def _rank(entries: list[Entry], alpha: float) -> Arena:
    runs: Mapping[str, Evaluation] = {entry.name: entry.main for entry in entries}
    comparisons = compare_runs(runs, alpha=alpha) if len(runs) > 1 else []
    ahead: dict[str, set[str]] = {name: set() for name in runs}  # surely better than name
    for comparison in comparisons:
        winner = comparison.pooled.winner
        if winner:
            names = (comparison.first, comparison.second)
            better, worse = names if winner == "first" else names[::-1]
            ahead[worse].add(better)
    standings = [
        Standing(
            entry=entry,
            best=1 + len(ahead[entry.name]),
            worst=len(entries) - sum(entry.name in others for others in ahead.values()),
        )
        for entry in entries
    ]
    standings.sort(key=lambda s: (-s.entry.main.pooled.rate, s.entry.name))
    return Arena(standings=standings, comparisons=comparisons)
