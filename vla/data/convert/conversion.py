"""From any source of trajectories to a finished store."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.types import Trajectory


class TrajectorySource(Protocol):
    """Demonstrations in some format, told in canonical axes."""

    embodiment: Embodiment
    provenance: dict[str, Any]

    def __len__(self) -> int:
        """How many episodes."""
        ...

    def __iter__(self) -> Iterator[Trajectory]:
        """The episodes, each read when asked for."""
        ...


def convert(
    source: TrajectorySource,
    output: str | Path,
    *,
    codec: str = "jpeg",
    progress: Callable[[int, int], None] | None = None,
) -> TrajectoryStore:
    """Write every episode of `source` into a new store; all or nothing.

    The store grows in a hidden folder beside `output` and gets its name when it is complete;
    what a conversion that was killed left there is replaced.

    Args:
        source: the demonstrations.
        output: folder of the new store.
        codec: "jpeg" (JPEG sources keep their bytes) or "zstd".
        progress: told (episodes done, episodes in all) after each episode.

    Raises:
        DataError: when `output` exists, or an episode cannot be read or is out of contract.
    """
    final = Path(output)
    if final.exists():
        raise DataError(f"{final} exists. Give another output, or delete it first.")
    growing = final.with_name(f".{final.name}.partial")
    if growing.exists():
        shutil.rmtree(growing)
    store = TrajectoryStore.create(
        growing, embodiment=source.embodiment, provenance=source.provenance, codec=codec
    )
    with store.segment() as segment:
        for done, trajectory in enumerate(source, start=1):
            segment.append(trajectory)
            if progress is not None:
                progress(done, len(source))
    growing.replace(final)
    return TrajectoryStore.open(final)
