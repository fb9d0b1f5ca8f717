"""Finishing early: a task whose comparison with another run is decided needs no more episodes.

Its processes go on with tasks that are not decided. Every task's episodes are counted in the
order of their seeds, whichever ends first: a success takes less time than a failure, so the order
of their ends would tell of their outcomes, which the rule does not allow (see `sequential`). What
is counted, and so the result, does not depend on how many processes there were.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vla.errors import DataError
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.sequential import SequentialComparison


class EarlyFinish:
    """One sequential comparison per task, "first" being the run under way.

    Args:
        reference: success by (task, seed) of the run to compare with, at least of all that follow.
        tasks, seeds: what is run, at most.
        alpha: chance of naming any false winner; each task has an equal share of it.

    Raises:
        DataError: when the reference lacks some episode.
    """

    def __init__(
        self,
        reference: Mapping[tuple[str, int], bool],
        *,
        tasks: Sequence[str],
        seeds: Sequence[int],
        alpha: float = 0.05,
    ):
        lacking = [
            (task, seed) for task in tasks for seed in seeds if (task, seed) not in reference
        ]
        if lacking:
            raise DataError(
                f"The run to compare with lacks {len(lacking)} of the episodes, {lacking[0]} "
                "first; give tasks and seeds that it has."
            )
        self._reference, self._seeds = reference, list(seeds)
        self._pairs = {
            task: SequentialComparison(alpha=alpha / max(len(tasks), 1)) for task in tasks
        }
        self._ended: dict[str, dict[int, bool]] = {task: {} for task in tasks}

    def add(self, result: EpisodeResult) -> None:
        """Take note of an episode that has ended; in any order."""
        pairs, ended = self._pairs[result.task], self._ended[result.task]
        ended[result.seed] = result.success
        while pairs.winner is None and pairs.n < len(self._seeds):
            seed = self._seeds[pairs.n]
            if seed not in ended:
                break
            pairs.add(ended[seed], self._reference[result.task, seed])

    def decided(self, task: str) -> bool:
        """Whether `task` needs no more episodes."""
        return self._pairs[task].winner is not None

    def count(self, task: str) -> list[int]:
        """The seeds that count: up to the decision, or all."""
        return self._seeds[: self._pairs[task].n] if self.decided(task) else list(self._seeds)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """By task the winner ("this", "other" or None), pairs, and p-value valid at any time."""
        names = {"first": "this", "second": "other", None: None}
        return {
            task: {"winner": names[pairs.winner], "pairs": pairs.n, "p_value": pairs.p_value}
            for task, pairs in self._pairs.items()
        }
