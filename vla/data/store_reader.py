"""Reading a store's columns and frames without zarr."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import ImageCodec
from vla.data.manifest import Manifest
from vla.data.shard import FileTable, Shard
from vla.data.store_segment import SEGMENTS, read_column, shard_path
from vla.errors import DataError, UnknownChoice, choose
from vla.types import Uint8


class StoreReader:
    """One view of a store as its manifest describes it; safe from several threads.

    Files are opened on first use. Columns are read whole and kept; of the images only the
    shards' indices stay in memory, 16 bytes a frame and camera.
    """

    def __init__(self, root: Path, manifest: Manifest, codec: ImageCodec):
        self._root = root
        self._manifest = manifest
        self._codec = codec
        lengths = [segment.length for segment in manifest.segments]
        self._segment_ends = np.cumsum(lengths, dtype=np.int64)
        self._columns: dict[str, NDArray[Any]] = {}
        self._shards: dict[tuple[int, str], Shard] = {}
        self._files = FileTable()

    def column(self, key: str) -> NDArray[Any]:
        """See `TrajectoryStore.column`."""
        values = self._columns.get(key)
        if values is None:
            embodiment, labels = self._manifest.embodiment, self._manifest.labels or {}
            widths: dict[str, int | None] = {
                "state": len(embodiment.state),
                "action": len(embodiment.action),
                "time": None,
                **{f"labels/{name}": width for name, width in labels.items()},
            }
            if key not in widths:
                raise UnknownChoice("column", key, widths)
            values = self._read_column(key, widths[key])
            values.flags.writeable = False
            self._columns[key] = values
        return values

    def _read_column(self, key: str, width: int | None) -> NDArray[Any]:
        parts = [
            read_column(self._root / SEGMENTS / segment.name, segment, key, width)
            for segment in self._manifest.segments
        ]
        if parts:
            return np.concatenate(parts)
        return np.zeros(0, np.float64) if width is None else np.zeros((0, width), np.float32)

    def read_payload(self, camera: str, frame: int) -> bytes:
        """See `TrajectoryStore.read_payload`."""
        self._check_frames(np.array([frame]))
        segment = int(np.searchsorted(self._segment_ends, frame, side="right"))
        return self._shard(segment, camera).read(frame - self._segment_start(segment))

    def read_frames(self, camera: str, frames: NDArray[np.int64], out: Uint8) -> None:
        """Decode `frames` (n,), in any order, into `out` uint8 (n, H, W, 3), C-contiguous.

        A frame asked for twice is decoded once, and frames that are neighbours on disk are
        read together. Where `out` is smaller than the camera, pictures are shrunk to fit.
        """
        if not len(frames):
            return
        wanted, first, places = np.unique(frames, return_index=True, return_inverse=True)
        self._check_frames(wanted[[0, -1]])
        size = choose("camera", camera, self._manifest.embodiment.cameras)
        stored = (size.height, size.width)
        segments = np.searchsorted(self._segment_ends, wanted, side="right")
        turns = np.flatnonzero(np.diff(segments)) + 1
        for begin, end in pairwise((0, *turns.tolist(), len(wanted))):
            segment, here = int(segments[begin]), wanted[begin:end]
            payloads = self._shard(segment, camera).read_many(here - self._segment_start(segment))
            rows = first[begin:end].tolist()
            for frame, row, payload in zip(here.tolist(), rows, payloads, strict=True):
                try:
                    self._codec.decode(payload, out[row], stored)
                except DataError as error:
                    raise DataError(
                        f"Frame {frame} of camera {camera!r} in {self._root}: {error}"
                    ) from error
        if len(wanted) < len(frames):
            source = first[places]
            repeats = np.flatnonzero(source != np.arange(len(frames)))
            for row, origin in zip(repeats.tolist(), source[repeats].tolist(), strict=True):
                out[row] = out[origin]

    def _check_frames(self, frames: NDArray[np.int64]) -> None:
        total = int(self._segment_ends[-1]) if len(self._segment_ends) else 0
        for frame in frames.tolist():
            if not 0 <= frame < total:
                raise DataError(f"Frame {frame} does not exist; the store has {total}.")

    def _segment_start(self, segment: int) -> int:
        return int(self._segment_ends[segment]) - self._manifest.segments[segment].length

    def _shard(self, segment: int, camera: str) -> Shard:
        shard = self._shards.get((segment, camera))
        if shard is None:
            choose("camera", camera, self._manifest.embodiment.cameras)
            record = self._manifest.segments[segment]
            path = shard_path(self._root / SEGMENTS / record.name, camera)
            shard = Shard(path, record.length, self._files)
            self._shards[segment, camera] = shard
        return shard
