"""From any source of trajectories to a finished store."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from vla.data.manifest import Manifest
from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import DataError, VlaError
from vla.types import Trajectory


@dataclass(frozen=True, slots=True)
class PendingEpisode:
    """An episode that has been found but not read.

    Attributes:
        name: file and place in it, as a person would look for it.
        read: gives the episode; raises DataError, EmbodimentMismatch or ShapeError when it is
            damaged or out of contract.
    """

    name: str
    read: Callable[[], Trajectory]


class TrajectorySource(Protocol):
    """Demonstrations in some format, told in canonical axes."""

    embodiment: Embodiment
    provenance: dict[str, Any]

    def __len__(self) -> int:
        """How many episodes the source says it has."""
        ...

    def __iter__(self) -> Iterator[PendingEpisode]:
        """The episodes in order, each to be read before the next is asked for.

        Iterating does not raise over damaged data: whatever is wrong, a file that ends early
        included, is raised by `read` of the episode it keeps from being read, so that the
        caller may go on with the next.
        """
        ...


def convert(
    source: TrajectorySource,
    output: str | Path,
    *,
    codec: str = "jpeg",
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> TrajectoryStore:
    """Write the episodes of `source` into a new store; all or nothing.

    The store grows in a hidden folder beside `output` and gets its name when it is complete;
    what a conversion that was killed left there is replaced.

    Args:
        source: the demonstrations.
        output: folder of the new store.
        codec: "jpeg" (JPEG sources keep their bytes) or "zstd".
        skip_bad: leave out episodes that cannot be read or are out of contract instead of
            stopping at the first. The store's provenance lists them under "skipped", each
            with "episode" and "reason".
        progress: told (episodes done, episodes in all) after each episode.

    Raises:
        DataError: when `output` exists, an episode is bad (naming it), or all of them are.
    """
    final = Path(output)
    if final.exists():
        raise DataError(f"{final} exists. Give another output, or delete it first.")
    growing = final.with_name(f".{final.name}.partial")
    if growing.exists():
        shutil.rmtree(growing)
    try:
        _fill(growing, source, codec=codec, skip_bad=skip_bad, progress=progress)
        growing.replace(final)
    finally:
        if growing.exists():  # it failed, or was interrupted
            shutil.rmtree(growing)
    return TrajectoryStore.open(final)


def _fill(
    growing: Path,
    source: TrajectorySource,
    *,
    codec: str,
    skip_bad: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the store in its hidden folder."""
    store = TrajectoryStore.create(
        growing, embodiment=source.embodiment, provenance=source.provenance, codec=codec
    )
    skipped: list[dict[str, str]] = []
    with store.segment() as segment:
        for done, pending in enumerate(source, start=1):
            try:
                segment.append(pending.read())
            except VlaError as error:
                if not skip_bad:
                    raise DataError(f"{pending.name}: {error}") from error
                skipped.append({"episode": pending.name, "reason": str(error)})
            if progress is not None:
                progress(done, len(source))
    if not store.num_episodes:
        reason = skipped[0]["reason"] if skipped else "the source is empty"
        raise DataError(f"No episode could be converted: {reason}")
    if skipped:
        provenance = {**store.provenance, "skipped": skipped}
        replace(Manifest.read(growing), provenance=provenance).write(growing)
