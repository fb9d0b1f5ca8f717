"""Reading a store's columns and frames without zarr."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import ImageCodec
from vla.data.manifest import Manifest
from vla.data.shard import FileTable, Shard
from vla.data.store_segment import SEGMENTS, read_column, shard_path
from vla.errors import DataError, UnknownChoice
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
        self._segment_ends = np.cumsum([s.length for s in manifest.segments], dtype=np.int64)
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
        segment = int(np.searchsorted(self._segment_ends, frame, side="right"))
        if frame < 0 or segment == len(self._segment_ends):
            total = self._segment_ends[-1] if len(self._segment_ends) else 0
            raise DataError(f"Frame {frame} does not exist; the store has {total}.")
        record = self._manifest.segments[segment]
        shard = self._shards.get((segment, camera))
        if shard is None:
            if camera not in self._manifest.embodiment.cameras:
                raise UnknownChoice("camera", camera, self._manifest.embodiment.cameras)
            path = shard_path(self._root / SEGMENTS / record.name, camera)
            shard = Shard(path, record.length, self._files)
            self._shards[segment, camera] = shard
        return shard.read(frame - int(self._segment_ends[segment]) + record.length)

    def read_frames(self, camera: str, frames: NDArray[np.int64], out: Uint8) -> None:
        """Decode `frames` (n,) into `out` (n, H, W, 3)."""
        for row, frame in enumerate(frames.tolist()):
            try:
                self._codec.decode(self.read_payload(camera, frame), out[row])
            except DataError as error:
                raise DataError(
                    f"Frame {frame} of camera {camera!r} in {self._root}: {error}"
                ) from error
