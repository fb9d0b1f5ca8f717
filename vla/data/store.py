"""The TrajectoryStore: demonstrations on disk, safe to kill, quick to sample.

    root/manifest.json        table of contents, replaced in one step
    root/segments/<n>-<id>/   complete zarr v3 groups that never change (see store_segment)

The logical view is one long time axis: columns concatenated over episodes, the
ends of the episodes, and one instruction per episode. A frame number counts along
that axis. Reading needs no zarr; any zarr v3 reader with `imagecodecs-zarr` opens a
segment as it is.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import build_codec, restore_codec
from vla.data.manifest import FILE, EpisodeRecord, Manifest
from vla.data.splits import split_episodes
from vla.data.store_reader import StoreReader
from vla.data.store_segment import SEGMENTS
from vla.data.store_writer import OpenSegment
from vla.embodiment import Embodiment
from vla.errors import DataError, choose
from vla.types import Trajectory, Uint8

SEGMENT_BYTES = 128 * 2**20


class TrajectoryStore:
    """Episodes of one embodiment. Use `create` or `open`.

    An object shows the store as it was when opened, plus its own appends. Reading is safe
    from several threads and after a fork; pickling reopens. Several processes may append:
    each commit takes a lock and builds on the newest manifest.
    """

    def __init__(self, path: Path, manifest: Manifest):
        self._path = path
        self._show(manifest)

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
        if root.exists() and not (root.is_dir() and all(map(_is_leftover, root.iterdir()))):
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
        return cls(root, manifest)

    @classmethod
    def open(cls, path: str | Path) -> "TrajectoryStore":
        """Open an existing store.

        Raises:
            DataError: when it is missing, damaged, incomplete or of another schema.
        """
        root = Path(path)
        manifest = Manifest.read(root)
        for segment in manifest.segments:
            if not (root / SEGMENTS / segment.name / "zarr.json").is_file():
                raise DataError(
                    f"Segment {segment.name} of {root} is missing ({len(segment.episodes)} "
                    "episodes). Copy the store anew from its source; copying stopped half way?"
                )
        return cls(root, manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        return TrajectoryStore.open, (str(self._path),)

    def __repr__(self) -> str:
        return f"TrajectoryStore({str(self._path)!r}, {self.num_episodes} episodes)"

    def _show(self, manifest: Manifest) -> None:
        """Present `manifest`; columns and shards that were read before are read anew."""
        self._manifest = manifest
        self._codec = restore_codec(manifest.codec)
        self._episodes = [e for segment in manifest.segments for e in segment.episodes]
        lengths = [episode.length for episode in self._episodes]
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._ends.flags.writeable = False
        self._reader = StoreReader(self._path, manifest, self._codec)

    # -- what it holds ---------------------------------------------------------

    @property
    def path(self) -> Path:
        """The root folder."""
        return self._path

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
        """One record per episode: uid, instruction, length, success, source."""
        return list(self._episodes)

    @property
    def instructions(self) -> list[str]:
        """One per episode."""
        return [episode.instruction for episode in self._episodes]

    @property
    def labels(self) -> dict[str, int]:
        """Width K of each auxiliary label."""
        return dict(self._manifest.labels or {})

    @property
    def hash(self) -> str:
        """SHA-256 over the embodiment and the episodes' content in order, hex."""
        parts = [self.embodiment.hash, *(episode.uid for episode in self._episodes)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def split(self, name: str, held_out: float = 0.1) -> NDArray[np.int64]:
        """Episode numbers of "train", "held_out" or "all"; see `split_episodes`."""
        return split_episodes([episode.uid for episode in self._episodes], name, held_out)

    # -- reading ---------------------------------------------------------------

    def column(self, key: str) -> NDArray[Any]:
        """A whole column over all frames, read once and kept; read-only.

        Args:
            key: "state" (N, S), "action" (N, A), both float32, "time" (N,) float64, or
                "labels/<name>" (N, K) float32.
        """
        return self._reader.column(key)

    def read_payload(self, camera: str, frame: int) -> bytes:
        """The stored bytes of one frame (for codec "jpeg": a JPEG file)."""
        return self._reader.read_payload(camera, frame)

    def read_frames(
        self, camera: str, frames: NDArray[np.int64], out: Uint8 | None = None
    ) -> Uint8:
        """Decode frames, in the order given.

        Args:
            camera: its name.
            frames: frame numbers (n,), int64.
            out: uint8 (n, H, W, 3) to write into, C-contiguous; a new array otherwise.
        """
        if out is None:
            size = choose("camera", camera, self.embodiment.cameras)
            out = np.empty((len(frames), size.height, size.width, 3), np.uint8)
        self._reader.read_frames(camera, frames, out)
        return out

    def episode(self, index: int) -> Trajectory:
        """Episode `index` with decoded images."""
        if not 0 <= index < self.num_episodes:
            raise DataError(f"Episode {index} does not exist; the store has {self.num_episodes}.")
        record, end = self._episodes[index], int(self._ends[index])
        rows = slice(end - record.length, end)
        frames = np.arange(rows.start, rows.stop)
        return Trajectory(
            images={name: self.read_frames(name, frames) for name in self.embodiment.cameras},
            state=self.column("state")[rows].copy(),
            action=self.column("action")[rows].copy(),
            instruction=record.instruction,
            time=self.column("time")[rows].copy(),
            success=record.success,
            labels={name: self.column(f"labels/{name}")[rows].copy() for name in self.labels},
            source=record.source,
        )

    def verify(self) -> None:
        """Compare every file with its SHA-256; reads the whole store.

        Raises:
            DataError: naming the first file that is missing or differs.
        """
        for segment in self._manifest.segments:
            for file, digest in segment.files.items():
                path = self._path / SEGMENTS / segment.name / file
                if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                    raise DataError(f"{path} is missing or damaged. Copy the store anew.")

    # -- writing ---------------------------------------------------------------

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
            self._path, self._manifest, self._codec, max_bytes=max_bytes, committed=self._show
        )
        try:
            yield segment
        finally:
            segment.commit()


def _is_leftover(path: Path) -> bool:
    """Whether a `create` that was killed left this file behind."""
    return path.name.startswith(f".{FILE}.")
