"""The TrajectoryStore: demonstrations on disk, safe to kill, quick to sample.

    root/manifest.json        table of contents, replaced in one step
    root/segments/<n>-<id>/   complete zarr v3 groups that never change (see store_segment)

A store in a bucket or on a web server is read in place, see `remote_storage`. The format is
specified in docs/data.md.

The logical view is one long time axis: columns concatenated over episodes, the
ends of the episodes, and one instruction per episode. A frame number counts along
that axis. Reading needs no zarr; any zarr v3 reader with `imagecodecs-zarr` opens a
segment as it is.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import Uint16
from vla.data.compaction import collect_garbage, compact_segments
from vla.data.manifest import FILE, EpisodeRecord, Manifest, Shape
from vla.data.splits import split_episodes
from vla.data.storage import LocalStorage, Storage, open_storage
from vla.data.store_reader import StoreReader
from vla.data.store_segment import SEGMENTS
from vla.data.store_writer import OpenSegment, start_store
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.types import Trajectory, Uint8

SEGMENT_BYTES = 64 * 2**20


class TrajectoryStore:
    """Episodes of one embodiment. Use `create` or `open`.

    An object shows the store as it was when opened, plus its own appends. Reading is safe
    from several threads and after a fork; pickling reopens. Several processes may append:
    each commit takes a lock and builds on the newest manifest.
    """

    def __init__(self, storage: Storage, manifest: Manifest, options: dict[str, str] | None = None):
        self._options = options
        self._show(manifest, storage)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        embodiment: Embodiment,
        provenance: dict[str, Any],
        codec: str = "jpeg",
    ) -> "TrajectoryStore":
        """Make an empty store.

        Args:
            path: a folder that does not exist yet, or is empty.
            embodiment: what every episode's numbers mean.
            provenance: where the data comes from (JSON values).
            codec: "jpeg", or "zstd" for lossless images.

        Raises:
            DataError: when something is there already, or `provenance` is not JSON.
            UnknownChoice: for another codec.
        """
        root = Path(path)
        return cls(LocalStorage(root), start_store(root, embodiment, provenance, codec))

    @classmethod
    def open(cls, location: str | Path, options: dict[str, str] | None = None) -> "TrajectoryStore":
        """Open an existing store.

        Args:
            location: a folder, or, read-only, a URL: "s3://bucket/path", "gs://...",
                "http(s)://...", "hf://datasets/owner/name/path".
            options: for a URL, what the environment does not say; see `open_remote`.

        Raises:
            DataError: when it is missing, damaged, incomplete or of another schema.
            ConfigError: for a URL or an option that is not understood.
        """
        storage = open_storage(location, options)
        manifest = Manifest.load(storage)
        if isinstance(storage, LocalStorage):  # elsewhere each look is a request
            for segment in manifest.segments:
                if not (storage.root / SEGMENTS / segment.name / "zarr.json").is_file():
                    raise DataError(
                        f"Segment {segment.name} of {storage} is missing ({len(segment.episodes)} "
                        "episodes). Copy the store anew from its source; copying stopped half way?"
                    )
        return cls(storage, manifest, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return TrajectoryStore.open, (self.location, self._options)

    def __repr__(self) -> str:
        return f"TrajectoryStore({self.location!r}, {self.num_episodes} episodes)"

    def _show(self, manifest: Manifest, storage: Storage) -> None:
        """Present `manifest`; columns and shards that were read before are read anew."""
        self._storage = storage
        self._manifest = manifest
        self._episodes = [e for segment in manifest.segments for e in segment.episodes]
        lengths = [episode.length for episode in self._episodes]
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._has_action = np.array([episode.has_action for episode in self._episodes], bool)
        for array in (self._ends, self._has_action):
            array.flags.writeable = False
        self._reader = StoreReader(storage, manifest)

    def _show_local(self, manifest: Manifest) -> None:
        self._show(manifest, LocalStorage(self.path))

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.location.rstrip("/").rsplit("/", 1)[-1]

    @property
    def location(self) -> str:
        """The root folder or URL."""
        return str(self._storage)

    @property
    def path(self) -> Path:
        """The root folder. Raises DataError for a remote store: all that writes asks for it."""
        if not isinstance(self._storage, LocalStorage):
            raise DataError(
                f"{self.location} is remote and can only be read. Build the store in a local "
                f"folder, then copy it there, {FILE} last."
            )
        return self._storage.root

    @property
    def manifest(self) -> Manifest:
        """The table of contents as this object shows it."""
        return self._manifest

    @property
    def embodiment(self) -> Embodiment:
        """What every number means."""
        return self._manifest.embodiment

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the data comes from."""
        return self._manifest.provenance

    @property
    def num_episodes(self) -> int:
        """How many episodes."""
        return len(self._episodes)

    @property
    def num_frames(self) -> int:
        """How many steps over all episodes."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def episode_ends(self) -> NDArray[np.int64]:
        """int64 (E,): one past each episode's last frame."""
        return self._ends

    @property
    def records(self) -> list[EpisodeRecord]:
        """One record per episode: uid, instruction, length, success, source, subtasks, ..."""
        return list(self._episodes)

    @property
    def has_action(self) -> NDArray[np.bool_]:
        """Which episodes have actions, bool (E,); the rows of others (films) are zeros."""
        return self._has_action

    @property
    def instructions(self) -> list[str]:
        """One per episode."""
        return [episode.instruction for episode in self._episodes]

    @property
    def labels(self) -> dict[str, int]:
        """Width K of each auxiliary label."""
        labels = [key for key in self.optional if key.startswith("labels/")]
        return {key.removeprefix("labels/"): self.optional[key][0] for key in labels}

    @property
    def optional(self) -> dict[str, Shape]:
        """Optional columns, which every episode has: name and shape of one step's entry."""
        return dict(self._manifest.optional or {})

    @property
    def hash(self) -> str:
        """SHA-256 over the embodiment and the episodes' content in order, hex."""
        parts = [self.embodiment.hash, *(episode.uid for episode in self._episodes)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def split(self, name: str, held_out: float = 0.1) -> NDArray[np.int64]:
        """Episode numbers of "train", "held_out" or "all"; see `split_episodes`."""
        return split_episodes([episode.uid for episode in self._episodes], name, held_out)

    def column(self, key: str) -> NDArray[Any]:
        """A whole column over all frames, read once and kept; read-only.

        Args:
            key: "state" (N, S), "action" (N, A), "sent" (N, A), "labels/<name>" (N, K), all
                float32; "time" (N,), "captured/<camera>" (N,), float64.
        """
        return self._reader.column(key)

    def read_payload(self, camera: str, frame: int) -> bytes:
        """The stored bytes of one frame (for codec "jpeg": a JPEG file)."""
        return self._reader.read_payload(f"images/{camera}", frame)

    def read_frames(
        self, camera: str, frames: NDArray[np.int64], out: Uint8 | None = None
    ) -> Uint8:
        """Decode frames, in the order given.

        Args:
            camera: its name.
            frames: frame numbers (n,), int64.
            out: uint8 (n, H, W, 3) to write into, C-contiguous, pictures are resized to it;
                a new array at the camera's size otherwise.
        """
        return self._reader.read_frames(camera, frames, out)

    def read_depth(
        self, camera: str, frames: NDArray[np.int64], out: Uint16 | None = None
    ) -> Uint16:
        """Depth in millimetres, uint16 (n, H, W), 0 where there is no reading; as `read_frames`."""
        return self._reader.read_depth(camera, frames, out)

    def episode(self, index: int) -> Trajectory:
        """Episode `index` with decoded images."""
        if not 0 <= index < self.num_episodes:
            raise DataError(f"Episode {index} does not exist; the store has {self.num_episodes}.")
        record = self._episodes[index]
        return self._reader.read_episode(record, int(self._ends[index]) - record.length)

    def verify(self) -> None:
        """Compare every file with its SHA-256; reads the whole store.

        Raises:
            DataError: naming the first file that is missing or differs.
        """
        self._reader.verify()

    def append(self, trajectory: Trajectory) -> str:
        """Commit one episode as a segment of its own and return its uid.

        When this returns, the episode is on disk; a kill before that leaves the store as it was.

        Raises:
            DataError: when the episode does not fit the embodiment; nothing is written.
        """
        with self.segment() as segment:
            return segment.append(trajectory)

    def append_many(self, trajectories: Iterable[Trajectory]) -> list[str]:
        """Commit episodes in few large segments; returns their uids. See `segment`."""
        with self.segment() as segment:
            return [segment.append(trajectory) for trajectory in trajectories]

    @contextmanager
    def segment(self, max_bytes: int = SEGMENT_BYTES) -> Iterator[OpenSegment]:
        """Collect several episodes in memory and commit them as one segment on leaving.

        Few files for many short episodes. Once `max_bytes` of image data have gathered, they
        are committed and the next segment begins. Complete episodes are committed even when
        the block raises; a kill loses those since the last commit.
        """
        segment = OpenSegment(
            self.path, self._manifest, max_bytes=max_bytes, committed=self._show_local
        )
        try:
            yield segment
        finally:
            segment.commit()

    def compact(self, target_bytes: int = SEGMENT_BYTES) -> None:
        """Merge neighbouring small segments into ones of up to `target_bytes`.

        Order, uids and hash stay, and payloads are copied, not encoded anew. May run beside
        readers and writers; a kill leaves the store as before or after. The old folders stay
        until `collect_garbage`.
        """
        self._show_local(compact_segments(self.path, target_bytes))

    def collect_garbage(self, min_age_seconds: float = 86_400) -> list[str]:
        """Delete segments that are listed no more for at least this long; returns their names.

        A store object that was opened before the compaction cannot read them afterwards.
        """
        return collect_garbage(self.path, min_age_seconds)
