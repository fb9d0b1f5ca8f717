"""Writing to a store: encoded episodes gather, then one commit makes them visible."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla.data.admission import check_trajectory
from vla.data.codec import build_codec, restore_codec
from vla.data.encoding import EncodedEpisode, describe_optional, encode_episode
from vla.data.manifest import FILE, Manifest, Shape, remove_leftovers
from vla.data.store_segment import SEGMENTS, write_segment
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.types import Trajectory

LOCK = ".lock"


def start_store(
    root: Path, embodiment: Embodiment, provenance: dict[str, Any], codec: str
) -> Manifest:
    """Write the manifest of an empty store; see `TrajectoryStore.create`."""
    leftover = f".{FILE}."  # of a `create` that was killed
    if root.exists() and not (
        root.is_dir() and all(path.name.startswith(leftover) for path in root.iterdir())
    ):
        raise DataError(
            f"{root} exists and is not empty. Give another path, or open the store to append."
        )
    try:
        json.dumps(provenance, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"provenance must hold JSON values only: {error}.") from error
    made = build_codec(codec, embodiment.cameras)
    root.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(embodiment=embodiment, provenance=provenance, codec=made.to_json())
    manifest.write(root)
    return manifest


class OpenSegment:
    """Episodes gathered in memory; see `TrajectoryStore.segment`.

    Args:
        root: the store's folder.
        manifest: the store as it stands.
        max_bytes: commit when this much image data has gathered.
        committed: told the new manifest after each commit.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        *,
        max_bytes: int,
        committed: Callable[[Manifest], None],
    ):
        self._root = root
        self._codec = restore_codec(manifest.codec)
        self._max_bytes = max_bytes
        self._committed = committed
        self._embodiment = manifest.embodiment
        self._optional = manifest.optional
        self._index = sum(len(segment.episodes) for segment in manifest.segments)
        self._episodes: list[EncodedEpisode] = []
        self._bytes = 0

    def append(self, trajectory: Trajectory) -> str:
        """Check and encode one episode; returns its uid.

        Raises:
            DataError: when it does not fit the store; the episodes before it are kept.
        """
        name = f"Episode {self._index}"
        check_trajectory(trajectory, self._embodiment, optional=self._optional, name=name)
        episode = encode_episode(trajectory, self._embodiment, self._codec, name=name)
        self._optional = describe_optional(trajectory)
        self._index += 1
        self._episodes.append(episode)
        self._bytes += episode.num_bytes
        if self._bytes >= self._max_bytes:
            self.commit()
        return episode.record.uid

    def commit(self) -> None:
        """Write what has gathered as one segment; nothing happens when that is nothing."""
        if not self._episodes or self._optional is None:
            return
        episodes, self._episodes, self._bytes = self._episodes, [], 0
        self._committed(_commit(self._root, episodes, self._optional))


def _commit(root: Path, episodes: list[EncodedEpisode], optional: dict[str, Shape]) -> Manifest:
    """Add one segment to the newest manifest: another process may have appended meanwhile."""
    with locked_manifest(root) as manifest:
        if manifest.optional not in (None, optional):
            raise DataError(
                f"{root} took episodes with the optional columns {manifest.optional} meanwhile; "
                f"these have {optional}. Give every episode of a store the same ones."
            )
        manifest = replace(manifest, optional=optional)
        record = write_segment(root, episodes, manifest)
        manifest = replace(manifest, segments=(*manifest.segments, record))
        manifest.write(root)
    return manifest


@contextmanager
def locked_manifest(root: Path) -> Iterator[Manifest]:
    """Hold the store's writer lock and give the newest manifest.

    The kernel releases the lock when the process dies; what such a writer left half done is
    deleted here.
    """
    if not (root / FILE).is_file():
        raise DataError(f"{root} is gone; it was moved or deleted while open.")
    with (root / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_leftovers(root, root / SEGMENTS)
        yield Manifest.read(root)
