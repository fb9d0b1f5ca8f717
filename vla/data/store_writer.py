"""Appending to a store: encoded episodes gather, then one commit makes them visible."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vla.data.admission import check_trajectory
from vla.data.codec import ImageCodec
from vla.data.manifest import FILE, Manifest, remove_leftovers
from vla.data.store_segment import SEGMENTS, EncodedEpisode, encode_episode, write_segment
from vla.errors import DataError
from vla.types import Trajectory

LOCK = ".lock"


class OpenSegment:
    """Episodes gathered in memory; see `TrajectoryStore.segment`.

    Args:
        root: the store's folder.
        manifest: the store as it stands.
        codec: of the images.
        max_bytes: commit when this much image data has gathered.
        committed: told the new manifest after each commit.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        codec: ImageCodec,
        *,
        max_bytes: int,
        committed: Callable[[Manifest], None],
    ):
        self._root = root
        self._codec = codec
        self._max_bytes = max_bytes
        self._committed = committed
        self._embodiment = manifest.embodiment
        self._labels = manifest.labels
        self._index = sum(len(segment.episodes) for segment in manifest.segments)
        self._episodes: list[EncodedEpisode] = []
        self._bytes = 0

    def append(self, trajectory: Trajectory) -> str:
        """Check and encode one episode; returns its uid.

        Raises:
            DataError: when it does not fit the store; the episodes before it are kept.
        """
        name = f"Episode {self._index}"
        check_trajectory(trajectory, self._embodiment, labels=self._labels, name=name)
        episode = encode_episode(trajectory, self._embodiment, self._codec, name=name)
        self._labels = _label_widths(episode)
        self._index += 1
        self._episodes.append(episode)
        self._bytes += episode.num_bytes
        if self._bytes >= self._max_bytes:
            self.commit()
        return episode.record.uid

    def commit(self) -> None:
        """Write what has gathered as one segment; nothing happens when that is nothing."""
        if not self._episodes:
            return
        episodes, self._episodes, self._bytes = self._episodes, [], 0
        self._committed(commit_episodes(self._root, episodes, self._codec))


def commit_episodes(root: Path, episodes: list[EncodedEpisode], codec: ImageCodec) -> Manifest:
    """Add one segment under the store's lock and return the new manifest.

    Builds on the newest manifest, because another process may have appended meanwhile, and
    removes what writers that died left behind.
    """
    with _locked(root):
        remove_leftovers(root, root / SEGMENTS)
        manifest = Manifest.read(root)
        labels = _label_widths(episodes[0])
        if manifest.labels not in (None, labels):
            raise DataError(
                f"{root} took episodes with labels {manifest.labels} meanwhile; these have "
                f"{labels}. Give every episode of a store the same labels."
            )
        record = write_segment(
            root, len(manifest.segments), episodes, embodiment=manifest.embodiment, codec=codec
        )
        manifest = manifest.add(record, labels)
        manifest.write(root)
    return manifest


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the store's writer lock; the kernel releases it when the process dies."""
    if not (root / FILE).is_file():
        raise DataError(f"{root} is gone; it was moved or deleted while open.")
    with (root / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _label_widths(episode: EncodedEpisode) -> dict[str, int]:
    return {
        key.removeprefix("labels/"): values.shape[1]
        for key, values in episode.columns.items()
        if key.startswith("labels/")
    }
