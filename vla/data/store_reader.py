"""Reading a store's columns and frames without zarr."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import DEPTH_CODEC, Uint16, restore_codec
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
    """

    def __init__(self, storage: Storage, manifest: Manifest):
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
        ((_, payload),) = self._read_payloads(film, np.array([frame]))
        return payload

    def _read_payloads(self, film: str, frames: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """(place in `frames`, payload), with one call to the storage per segment touched."""
        ends = self._segment_ends
        outside = (frames < 0) | (frames >= (ends[-1] if len(ends) else 0))
        if outside.any():
            total = ends[-1] if len(ends) else 0
            raise DataError(f"Frame {frames[outside][0]} does not exist; the store has {total}.")
        segments = np.searchsorted(ends, frames, side="right")
        for segment in np.unique(segments).tolist():
            places = np.flatnonzero(segments == segment)
            start = ends[segment] - self._manifest.segments[segment].length
            payloads = self._shard(segment, film).read(frames[places] - start)
            yield from zip(places.tolist(), payloads, strict=True)

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
        return self._decode(f"images/{camera}", frames, out, np.uint8, self._codec.decode)

    def read_depth(
        self, camera: str, frames: NDArray[np.int64], out: Uint16 | None = None
    ) -> Uint16:
        """See `TrajectoryStore.read_depth`."""
        return self._decode(f"depth/{camera}", frames, out, np.uint16, DEPTH_CODEC.decode)

    def _decode(
        self,
        film: str,
        frames: NDArray[np.int64],
        out: NDArray[Any] | None,
        dtype: type[np.generic],
        decode: Callable[[bytes, NDArray[Any]], None],
    ) -> NDArray[Any]:
        shape = choose("camera", film, self._films)
        if out is None:
            out = np.empty((len(frames), *shape), dtype)
        for place, payload in self._read_payloads(film, frames):
            try:
                decode(payload, out[place])
            except DataError as error:
                raise DataError(
                    f"Frame {frames[place]} of {film!r} in {self._storage}: {error}"
                ) from error
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
