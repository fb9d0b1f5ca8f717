"""Finished evaluations against each other, episode by episode on the scenes they share."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from vla.errors import ConfigError, DataError
from vla.evaluation.bootstrap import bootstrap_difference
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.power import required_episodes
from vla.evaluation.result import Evaluation, Rate
from vla.evaluation.sequential import SequentialComparison
from vla.evaluation.statistics import PairedComparison, compare_paired, mcnemar_exact

POWER = 0.8
ALL_TASKS = "all tasks"

Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskComparison:
    """Two runs on the episodes of one task, or of all tasks.

    Attributes:
        task: its name, or ALL_TASKS.
        pairs: how the episodes fell, the difference first - second, its Newcombe interval
            of confidence 1 - alpha, the exact McNemar p-value.
        first, second: rates over the pairs.
        bootstrap: BCa interval of the difference, stratified by task; None where resampling
            knows nothing.
        adjusted_p: p-value after Holm's correction over the family (see `compare_runs`).
        anytime_p: of the e-process over the pairs by seed; holds for those who look again
            after adding episodes, which the p-value does not.
        winner: "first", "second", or None: the data do not say.
        more: further pairs that would show the difference seen 8 times in 10, were it the
            true one; 0 when there is a winner, None when it is 0 or a million would not do.
    """

    task: str
    pairs: PairedComparison
    first: Rate
    second: Rate
    bootstrap: tuple[float, float] | None
    adjusted_p: float
    anytime_p: float
    winner: str | None
    more: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunComparison:
    """Two runs: every task, and all together.

    Attributes:
        first, second: names of the runs.
        tasks: one each, in the order of the first run; its own family of tests.
        pooled: all pairs.
        differing: keys of the setups that differ, which may explain the difference; none
            means that the same policy was run twice.
        alpha: level of the tests.
    """

    first: str
    second: str
    tasks: list[TaskComparison]
    pooled: TaskComparison
    differing: list[str]
    alpha: float

    @property
    def rows(self) -> list[TaskComparison]:
        """The tasks and, when there are several, all together."""
        return [*self.tasks, self.pooled] if len(self.tasks) > 1 else [self.pooled]

    @property
    def sentence(self) -> str:
        """The verdict over all tasks in words, and what was left out."""
        unpaired = self.pooled.pairs.unpaired
        return self._judge() + (f" {unpaired} episodes of one run alone left out." * bool(unpaired))

    def _judge(self) -> str:
        row, pairs = self.pooled, self.pooled.pairs
        if row.winner:
            names, bounds = (self.first, self.second), (pairs.low, pairs.high)
            if row.winner == "second":
                names, bounds = names[::-1], (-pairs.high, -pairs.low)
            return (
                f"{names[0]} is better than {names[1]} by {100 * abs(pairs.difference):.1f} points "
                f"({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}) on {pairs.n} shared episodes, "
                f"adjusted p = {row.adjusted_p:.2g}."
            )
        if mcnemar_exact(pairs.n, 0) >= self.alpha:
            reason = f"{pairs.n} shared episodes could not show any difference"
        elif pairs.low <= 0 <= pairs.high:
            interval = f"{100 * pairs.low:+.1f} to {100 * pairs.high:+.1f} points"
            reason = f"the difference may be anything from {interval}, 0 among them"
        else:
            reason = f"adjusted p = {row.adjusted_p:.2g} is not below {self.alpha:g}"
        return f"No winner between {self.first} and {self.second}: {reason}. {self._advise()}"

    def _advise(self) -> str:
        seen = self.pooled.pairs.difference
        if seen == 0:
            return "The rates are equal; more episodes would show whether they stay so."
        share = f"the {100 * abs(seen):.1f} points seen were the true difference"
        if self.pooled.more is None:
            return f"Even if {share}, a million more episodes would not show it."
        return f"If {share}, {self.pooled.more} more episodes would show it 8 times in 10."

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the verdict in words."""
        return {**asdict(self), "sentence": self.sentence}


def compare_runs(runs: Mapping[str, Evaluation], *, alpha: float = 0.05) -> list[RunComparison]:
    """Compare every two runs on the (task, seed) that both have.

    A winner is named only when the adjusted p-value is below alpha and the Newcombe interval
    leaves out 0. Holm's correction makes alpha the chance of any false winner in a family;
    the pooled tests of all pairs of runs are one family, all tests of single tasks another.

    Raises:
        ConfigError: fewer than two runs, or alpha outside (0, 1).
        DataError: two runs that share no episode or were not run on the same scenes.
    """
    if len(runs) < 2:
        raise ConfigError(f"{len(runs)} run to compare; give two or more.")
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha is {alpha}; it must lie between 0 and 1.")
    couples = list(combinations(runs, 2))
    found: list[tuple[list[TaskComparison], TaskComparison]] = []
    for names in couples:
        first, second = (_index(runs[name]) for name in names)
        require_same_scenes(names, (runs[names[0]], runs[names[1]]))
        tasks = dict.fromkeys(key[0] for key in first if key in second)
        single = [_compare(task, first, second, alpha) for task in tasks]
        found.append((single, _compare(ALL_TASKS, first, second, alpha)))
    pooled = _decide([pooled for _, pooled in found], alpha)
    singles = iter(_decide([row for rows, _ in found for row in rows], alpha))
    return [
        RunComparison(
            first=names[0],
            second=names[1],
            tasks=[next(singles) for _ in rows],
            pooled=together,
            differing=_list_differences(*(runs[name].setup for name in names)),
            alpha=alpha,
        )
        for names, (rows, _), together in zip(couples, found, pooled, strict=True)
    ]


def require_same_scenes(names: tuple[str, str], runs: tuple[Evaluation, Evaluation]) -> None:
    """Refuse runs whose episodes are not pairs.

    Raises:
        DataError: no shared (task, seed); another world, step limit, instruction or first
            picture.
    """
    title = f"{names[0]} and {names[1]}"
    ours, theirs = (describe_scene(run.setup) for run in runs)
    if differing := _list_differences(ours, theirs):
        values = ", ".join(f"{k} is {ours.get(k)!r} and {theirs.get(k)!r}" for k in differing)
        raise DataError(
            f"{title} were not run on the same scenes: {values}. "
            "Evaluate both checkpoints with the same options."
        )
    first, second = map(_index, runs)
    shared = [key for key in first if key in second]
    if not shared:
        raise DataError(
            f"{title} share no episode; evaluate both on the same tasks and evaluation.first_seed."
        )
    for what in ("first_frame", "instruction"):
        unlike = [k for k in shared if getattr(first[k], what) != getattr(second[k], what)]
        if unlike:
            raise DataError(
                f"{title}: {len(unlike)} of {len(shared)} shared episodes differ in their "
                f"{what.replace('_', ' ')}, such as task {unlike[0][0]}, seed {unlike[0][1]}. "
                "They are not pairs; evaluate both with the same packages, options and machine."
            )


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979), in order."""
    count, highest = len(p_values), 0.0
    adjusted = [0.0] * count
    for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def describe_scene(setup: Mapping[str, Any]) -> dict[str, Any]:
    """What two setups must share. Which other tasks were run decides no scene; that policy and
    world fit each other was checked before.
    """
    world = setup.get("world")
    parts = world if isinstance(world, Mapping) else {"type": world}
    scene = {f"world.{key}": value for key, value in parts.items() if key != "tasks"}
    return {**scene, "max_steps": setup.get("max_steps")}


def _index(run: Evaluation) -> dict[Key, EpisodeResult]:
    return {(episode.task, episode.seed): episode for episode in run.episodes}


def _compare(
    task: str,
    first: Mapping[Key, EpisodeResult],
    second: Mapping[Key, EpisodeResult],
    alpha: float,
) -> TaskComparison:
    """Everything but the verdict, which needs the whole family."""
    mine, theirs = (
        {key: run[key].success for key in run if task in (key[0], ALL_TASKS)}
        for run in (first, second)
    )
    shared = sorted(mine.keys() & theirs.keys(), key=lambda key: (key[1], key[0]))
    pairs = compare_paired(mine, theirs, 1 - alpha)
    sequence = SequentialComparison(alpha=alpha)
    for key in shared:
        sequence.add(mine[key], theirs[key])
    return TaskComparison(
        task=task,
        pairs=pairs,
        first=Rate.count(first[key] for key in shared),
        second=Rate.count(second[key] for key in shared),
        bootstrap=bootstrap_difference(mine, theirs, confidence=1 - alpha),
        adjusted_p=pairs.p_value,
        anytime_p=sequence.p_value,
        winner=None,
        more=None,
    )


def _decide(family: Sequence[TaskComparison], alpha: float) -> list[TaskComparison]:
    decided = []
    corrected = correct_holm([row.pairs.p_value for row in family])
    for row, adjusted in zip(family, corrected, strict=True):
        pairs, winner, more = row.pairs, None, None
        if adjusted < alpha and not pairs.low <= 0 <= pairs.high:
            winner, more = ("first" if pairs.difference > 0 else "second"), 0
        elif pairs.difference:
            needed = required_episodes(
                pairs.difference,
                discordance=(pairs.only_first + pairs.only_second) / pairs.n,
                power=POWER,
                alpha=alpha / len(family),  # Bonferroni: enough for Holm at its strictest
            )
            # Few more may be needed than already seen; at least one is, for there is no winner.
            more = None if needed is None else max(1, needed - pairs.n)
        decided.append(replace(row, adjusted_p=adjusted, winner=winner, more=more))
    return decided


def _list_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    return sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
