"""New stores from the episodes of old ones; compressed images are copied byte for byte."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vla.data.convert.conversion import PendingEpisode, convert
from vla.data.store import TrajectoryStore
from vla.errors import DataError, EmbodimentMismatch
from vla.types import Trajectory

Progress = Callable[[int, int], None]
Pick = tuple[TrajectoryStore, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What to change while copying.

    Attributes:
        drop: numbers of episodes to leave out.
        instruction: old words to new words.
        trim: episode to (first, past the last) step to keep.
    """

    drop: Sequence[int] = ()
    instruction: Mapping[str, str] = field(default_factory=dict)
    trim: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def require_applicable(self, store: TrajectoryStore) -> None:
        """Stop when something is named that the store has not got, or nothing would be left.

        Raises:
            DataError: naming it, and what there is.
        """
        count = store.num_episodes
        if unknown := sorted(n for n in {*self.drop, *self.trim} if not 0 <= n < count):
            raise DataError(
                f"Episodes {unknown} do not exist; {store.location} has 0 to {count - 1}."
            )
        if both := sorted({*self.drop} & {*self.trim}):
            raise DataError(f"Episodes {both} are to be dropped and trimmed; choose one.")
        if len({*self.drop}) == count:
            raise DataError("No episode would be left. Delete the store instead.")
        if missing := sorted({*self.instruction} - {*store.instructions}):
            known = ", ".join(map(repr, sorted({*store.instructions})[:10]))
            raise DataError(f"No episode has the instruction {missing[0]!r}. There are: {known}.")
        for number, (_, stop) in self.trim.items():
            if stop > (length := store.records[number].length):
                raise DataError(f"Episode {number} has {length} steps; trim ends at {stop}.")

    def __call__(self, trajectory: Trajectory, number: int) -> Trajectory:
        """Episode `number` as it shall become."""
        if number in self.trim:
            trajectory = trim_trajectory(trajectory, *self.trim[number])
        words = trajectory.instruction
        return replace(trajectory, instruction=self.instruction.get(words, words))


def edit_store(
    store: TrajectoryStore, output: str | Path, edit: Edit, *, progress: Progress | None = None
) -> TrajectoryStore:
    """A copy of `store` with changes.

    Raises:
        DataError: when the edit does not apply, or `output` exists.
    """
    edit.require_applicable(store)
    picks = [(store, number) for number in range(store.num_episodes) if number not in edit.drop]
    changes = {
        "drop": sorted(edit.drop),
        "instruction": dict(edit.instruction),
        "trim": {str(number): list(span) for number, span in edit.trim.items()},
    }
    made = {"made_by": "vla data edit", "changes": changes}
    return copy_episodes(picks, output, provenance=made, change=edit, progress=progress)


def split_store(
    store: TrajectoryStore, output: str | Path, held_out: float, *, progress: Progress | None = None
) -> dict[str, TrajectoryStore]:
    """Two copies, `output`/train and `output`/held_out, by `TrajectoryStore.split`.

    Raises:
        DataError: when a side would be empty, or one of the two folders exists.
    """
    sides = {name: store.split(name, held_out).tolist() for name in ("train", "held_out")}
    for name, numbers in sides.items():
        if not numbers:
            raise DataError(
                f"{name} would be empty: {store.num_episodes} episodes, held_out={held_out}."
            )
        if (Path(output) / name).exists():
            raise DataError(f"{Path(output) / name} exists. Give another output.")
    Path(output).mkdir(parents=True, exist_ok=True)
    done = 0
    stores = {}
    for name, numbers in sides.items():

        def advance(here: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + here, store.num_episodes)

        made = {"made_by": "vla data split", "split": name, "held_out": held_out}
        stores[name] = copy_episodes(
            [(store, number) for number in numbers],
            Path(output) / name,
            provenance=made,
            progress=advance,
        )
        done += len(numbers)
    return stores


def merge_stores(
    stores: Sequence[TrajectoryStore], output: str | Path, *, progress: Progress | None = None
) -> tuple[TrajectoryStore, list[Pick]]:
    """One store of all episodes; of those with equal content, the first.

    Returns:
        The new store, and the episodes that were left out because they were there already.

    Raises:
        DataError: when the stores' bodies or image codecs differ, or `output` exists.
    """
    first = stores[0]
    for other in stores[1:]:
        try:
            first.embodiment.require(other.embodiment, mine="first", theirs="other")
            other.embodiment.require(first.embodiment, mine="other", theirs="first")
        except EmbodimentMismatch as error:
            raise DataError(
                f"{other.location} is of another body than {first.location}: {error}\nOne store "
                "holds one body; to train on both, use data=mixture."
            ) from error
        kinds = [each.manifest.codec for each in (first, other)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"{first.location} keeps images as {kinds[0]}, {other.location} as "
                f"{kinds[1]}. Convert one of them again with the other's codec."
            )
    picks: list[Pick] = []
    repeated: list[Pick] = []
    seen: set[str] = set()
    for store in stores:
        for number, record in enumerate(store.records):
            (repeated if record.uid in seen else picks).append((store, number))
            seen.add(record.uid)
    made = {"made_by": "vla data merge", "repeated": len(repeated)}
    return copy_episodes(picks, output, provenance=made, progress=progress), repeated


def copy_episodes(
    picks: Sequence[Pick],
    output: str | Path,
    *,
    provenance: dict[str, Any],
    change: Callable[[Trajectory, int], Trajectory] = lambda trajectory, _: trajectory,
    progress: Progress | None = None,
) -> TrajectoryStore:
    """Write episodes into a new store; all of them or nothing.

    Args:
        picks: (store, episode number), at least one; all stores of one embodiment and codec.
        output: folder of the new store.
        provenance: what was done; the old stores' paths, hashes and provenance are added.
        change: gives the episode as it shall become.
        progress: told (episodes done, episodes in all).

    Raises:
        DataError: when there is nothing to copy or `output` exists.
    """
    if not picks:
        raise DataError(f"There is no episode to copy to {output}.")
    source = _Copies(picks, provenance, change)
    return convert(source, output, codec=picks[0][0].manifest.codec["name"], progress=progress)


class _Copies:
    """A TrajectorySource: episodes of stores."""

    def __init__(
        self,
        picks: Sequence[Pick],
        provenance: dict[str, Any],
        change: Callable[[Trajectory, int], Trajectory],
    ):
        stores = {store.location: store for store, _ in picks}
        self.embodiment = picks[0][0].embodiment
        self.provenance = {
            **provenance,
            "from": [
                {"path": path, "hash": store.hash, "provenance": store.provenance}
                for path, store in stores.items()
            ],
        }
        self._picks = picks
        self._change = change

    def __len__(self) -> int:
        return len(self._picks)

    def __iter__(self) -> Iterator[PendingEpisode]:
        for store, number in self._picks:
            name = f"{store.location}, episode {number}"
            yield PendingEpisode(name, partial(self._read, store, number))

    def _read(self, store: TrajectoryStore, number: int) -> Trajectory:
        return self._change(read_encoded(store, number), number)


def read_encoded(store: TrajectoryStore, number: int) -> Trajectory:
    """An episode with its JPEG images as they are stored; lossless images come decoded.

    The pictures are decoded on the way all the same, because `episode` gives every other
    column that a store may have; a damaged one is thereby found before it is copied.
    """
    trajectory = store.episode(number)
    if store.manifest.codec["name"] != "jpeg":
        return trajectory
    stop = int(store.episode_ends[number])
    frames = range(stop - len(trajectory), stop)
    cameras = store.embodiment.cameras
    payloads = {name: [store.read_payload(name, frame) for frame in frames] for name in cameras}
    return replace(trajectory, images=payloads)


def trim_trajectory(trajectory: Trajectory, first: int, stop: int) -> Trajectory:
    """Steps `first` to before `stop` of an episode; time begins at 0 again."""
    rows = slice(first, stop)
    begin = trajectory.time[first]
    subtasks = [
        replace(task, start=max(task.start, first) - first, stop=min(task.stop, stop) - first)
        for task in trajectory.subtasks
        if task.start < stop and task.stop > first
    ]
    return Trajectory(
        images={name: frames[rows] for name, frames in trajectory.images.items()},
        state=trajectory.state[rows],
        action=None if trajectory.action is None else trajectory.action[rows],
        instruction=trajectory.instruction,
        time=trajectory.time[rows] - begin,
        sent=None if trajectory.sent is None else trajectory.sent[rows],
        captured={name: times[rows] - begin for name, times in trajectory.captured.items()},
        depth={name: frames[rows] for name, frames in trajectory.depth.items()},
        subtasks=tuple(subtasks),
        success=trajectory.success,
        labels={name: values[rows] for name, values in trajectory.labels.items()},
        source={**trajectory.source, "steps": [first, stop]},
    )
