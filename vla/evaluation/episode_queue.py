"""Which episode a process runs next."""

from collections import deque
from collections.abc import Callable, Iterable


class EpisodeQueue:
    """Episodes by task; a worker keeps its task while there is some left, to keep its world.

    Args:
        episodes: (task, seed), a task's seeds in the order they are to be run.
        skip: whether what is left of a task is not needed; asked before every episode.
    """

    def __init__(
        self, episodes: Iterable[tuple[str, int]], skip: Callable[[str], bool] | None = None
    ):
        self._skip = skip
        self._seeds: dict[str, deque[int]] = {}
        for task, seed in episodes:
            self._seeds.setdefault(task, deque()).append(seed)

    def __len__(self) -> int:
        return sum(len(seeds) for seeds in self._seeds.values())

    def take(self, task: str | None) -> tuple[str, int] | None:
        """The next episode, of `task` if possible, else of the task with the most left."""
        if self._skip is not None:
            self._seeds = {name: s for name, s in self._seeds.items() if not self._skip(name)}
        left = {name: len(seeds) for name, seeds in self._seeds.items() if seeds}
        if not left:
            return None
        chosen = task if task in left else max(left, key=left.__getitem__)
        return chosen, self._seeds[chosen].popleft()
