"""Decoded frames in memory, as many as a limit allows."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla.data.store import TrajectoryStore
from vla.embodiment import Camera
from vla.types import Uint8


class FrameSource(Protocol):
    """Anything that gives decoded frames by number."""

    def read_frames(self, camera: str, frames: NDArray[np.int64], out: Uint8) -> Uint8:
        """Write frames (n,) into `out` uint8 (n, H, W, 3) and return it."""
        ...


class FrameCache:
    """Keeps each frame it has decoded, for the first frames of the store that fit the limit.

    A prefix needs no eviction; with random windows the hit rate is the share that fits.
    Memory is taken as frames come in. Safe from several threads: two that miss the same
    frame write the same bytes.

    Args:
        store: where frames come from.
        max_bytes: limit over all cameras.
    """

    def __init__(self, store: TrajectoryStore, max_bytes: int):
        self._store = store
        cameras = store.embodiment.cameras
        per_step = sum(camera.height * camera.width * 3 for camera in cameras.values())
        self.num_frames = min(store.num_frames, max_bytes // max(1, per_step))
        self._pixels = {name: self._reserve(camera) for name, camera in cameras.items()}
        self._known = {name: np.zeros(self.num_frames, bool) for name in cameras}

    def _reserve(self, camera: Camera) -> Uint8:
        return np.empty((self.num_frames, camera.height, camera.width, 3), np.uint8)

    def read_frames(self, camera: str, frames: NDArray[np.int64], out: Uint8) -> Uint8:
        """As `FrameSource.read_frames`."""
        pixels, known = self._pixels[camera], self._known[camera]
        inside = frames < self.num_frames
        wanted = np.unique(frames[inside])
        missing = wanted[~known[wanted]]
        if len(missing):
            pixels[missing] = self._store.read_frames(camera, missing)
            known[missing] = True
        if inside.all():
            return np.take(pixels, frames, axis=0, out=out, mode="clip")
        if not inside.any():
            return self._store.read_frames(camera, frames, out)
        out[inside] = pixels[frames[inside]]
        out[~inside] = self._store.read_frames(camera, frames[~inside])
        return out
