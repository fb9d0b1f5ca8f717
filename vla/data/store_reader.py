"""Reading a store's columns and frames without zarr."""

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import DEPTH_CODEC, ImageCodec, Uint16, restore_codec
from vla.data.manifest import EpisodeRecord, Manifest
from vla.data.shard import Shard
from vla.data.storage import Storage
from vla.data.store_segment import SEGMENTS, film_file, read_column
from vla.errors import DataError, choose
from vla.types import Trajectory, Uint8


class StoreReader:
    """One view of a store as its manifest describes it; safe from several threads.

    Files are opened on first use. Columns are read whole and kept; of the images only the
    shards' indices stay in memory, 16 bytes a frame and camera.

    Attributes:
        embodiment: whose cameras say at which size pictures are given.
    """

    def __init__(self, storage: Storage, manifest: Manifest):
        self.embodiment = manifest.embodiment
        self._storage = storage
        self._manifest = manifest
        self._codec = restore_codec(manifest.codec)
        self._films = manifest.films
        self._segment_ends = np.cumsum([s.length for s in manifest.segments], dtype=np.int64)
        self._columns: dict[str, NDArray[Any]] = {}
        self._shards: dict[tuple[int, str], Shard] = {}

    def column(self, key: str) -> NDArray[Any]:
        """See `TrajectoryStore.column`."""
        values = self._columns.get(key)
        if values is None:
            dtype, entry = choose("column", key, self._manifest.columns)
            parts = [
                read_column(self._storage, segment, key, self._manifest)
                for segment in self._manifest.segments
            ]
            values = np.concatenate(parts) if parts else np.zeros((0, *entry), dtype)
            values.flags.writeable = False
            self._columns[key] = values
        return values

    def read_payload(self, film: str, frame: int) -> bytes:
        """The stored bytes of one frame of "images/<camera>" or "depth/<camera>"."""
        self._check_frames(np.array([frame]))
        segment = int(np.searchsorted(self._segment_ends, frame, side="right"))
        (payload,) = self._shard(segment, film).read(np.array([frame - self._start(segment)]))
        return bytes(payload)

    def _check_frames(self, frames: NDArray[np.int64]) -> None:
        total = int(self._segment_ends[-1]) if len(self._segment_ends) else 0
        for frame in frames.tolist():
            if not 0 <= frame < total:
                raise DataError(f"Frame {frame} does not exist; the store has {total}.")

    def _start(self, segment: int) -> int:
        """The segment's first frame."""
        return int(self._segment_ends[segment - 1]) if segment else 0

    def _shard(self, segment: int, film: str) -> Shard:
        shard = self._shards.get((segment, film))
        if shard is None:
            shape = choose("camera", film, self._films)
            record = self._manifest.segments[segment]
            name = f"{SEGMENTS}/{record.name}/{film_file(film, shape)}"
            shard = Shard(self._storage, name, record.length)
            self._shards[segment, film] = shard
        return shard

    def read_frames(
        self, camera: str, frames: NDArray[np.int64], out: Uint8 | None = None
    ) -> Uint8:
        """See `TrajectoryStore.read_frames`."""
        if out is None:
            size = choose("camera", camera, self.embodiment.cameras)
            out = np.empty((len(frames), size.height, size.width, 3), np.uint8)
        return self._decode(f"images/{camera}", frames, out, np.uint8, self._codec)

    def read_depth(
        self, camera: str, frames: NDArray[np.int64], out: Uint16 | None = None
    ) -> Uint16:
        """See `TrajectoryStore.read_depth`."""
        return self._decode(f"depth/{camera}", frames, out, np.uint16, DEPTH_CODEC)

    def _decode(
        self,
        film: str,
        frames: NDArray[np.int64],
        out: NDArray[Any] | None,
        dtype: type[np.generic],
        codec: ImageCodec,
    ) -> NDArray[Any]:
        """Frames (n,), in any order, decoded into `out`.

        A frame asked for twice is decoded once, and frames that are neighbours on disk are
        read together. Where `out` has another height and width, pictures are resized to fit.
        """
        shape = choose("camera", film, self._films)
        if out is None:
            out = np.empty((len(frames), *shape), dtype)
        if not len(frames):
            return out
        wanted, first, places = np.unique(frames, return_index=True, return_inverse=True)
        self._check_frames(wanted[[0, -1]])
        segments = np.searchsorted(self._segment_ends, wanted, side="right")
        turns = np.flatnonzero(np.diff(segments)) + 1
        for begin, end in pairwise((0, *turns.tolist(), len(wanted))):
            segment, here = int(segments[begin]), wanted[begin:end]
            payloads = self._shard(segment, film).read(here - self._start(segment))
            rows = first[begin:end].tolist()
            for frame, row, payload in zip(here.tolist(), rows, payloads, strict=True):
                try:
                    codec.decode(payload, out[row], shape[:2])
                except DataError as error:
                    place = f"Frame {frame} of {film!r} in {self._storage}"
                    raise DataError(f"{place}: {error}") from error
        if len(wanted) < len(frames):
            source = first[places]
            repeats = np.flatnonzero(source != np.arange(len(frames)))
            for row, origin in zip(repeats.tolist(), source[repeats].tolist(), strict=True):
                out[row] = out[origin]
        return out

    def read_episode(self, record: EpisodeRecord, start: int) -> Trajectory:
        """The episode that begins at frame `start`, decoded."""
        rows = slice(start, start + record.length)
        frames = np.arange(rows.start, rows.stop)

        def cut(family: str) -> dict[str, NDArray[Any]]:
            keys = [key for key in self._manifest.columns if key.startswith(f"{family}/")]
            return {key.removeprefix(f"{family}/"): self.column(key)[rows].copy() for key in keys}

        depth = [k.removeprefix("depth/") for k in self._films if k.startswith("depth/")]
        sent = self.column("sent")[rows].copy() if "sent" in self._manifest.columns else None
        cameras = self._manifest.embodiment.cameras
        return Trajectory(
            images={name: self.read_frames(name, frames) for name in cameras},
            state=self.column("state")[rows].copy(),
            action=self.column("action")[rows].copy() if record.has_action else None,
            instruction=record.instruction,
            time=self.column("time")[rows].copy(),
            sent=sent,
            captured=cut("captured"),
            depth={name: self.read_depth(name, frames) for name in depth},
            subtasks=record.subtasks,
            success=record.success,
            labels=cut("labels"),
            source=record.source,
        )

    def verify(self) -> None:
        """See `TrajectoryStore.verify`."""
        for segment in self._manifest.segments:
            for file, digest in segment.files.items():
                name = f"{SEGMENTS}/{segment.name}/{file}"
                if hashlib.sha256(self._storage.read_all(name)).hexdigest() != digest:
                    raise DataError(f"{self._storage}/{name} is damaged. Copy the store anew.")
