"""One camera's frames of one segment, in one file: a zarr v3 shard.

    payload 0 | payload 1 | ... | index: N x (offset, nbytes) uint64 | crc32c uint32

This is the `sharding_indexed` layout of the zarr v3 specification with the index at
the end and one frame per inner chunk, written and read here without zarr: a random
frame costs one `pread` and one decode.
"""

import os
import resource
import weakref
from itertools import pairwise
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from vla.errors import DataError

CRC_BYTES = 4
ENTRY_BYTES = 16


def pack_shard(payloads: list[bytes]) -> bytes:
    """The whole file for these payloads, in frame order."""
    sizes = np.array([len(payload) for payload in payloads], "<u8")
    index = np.empty((len(payloads), 2), "<u8")
    index[:, 0] = np.cumsum(sizes) - sizes
    index[:, 1] = sizes
    tail = index.tobytes()
    checksum = google_crc32c.value(tail).to_bytes(CRC_BYTES, "little")
    return b"".join([*payloads, tail, checksum])


class FileTable:
    """Read-only file descriptors, opened on first use and kept up to a share of the limit.

    `pread` has no file position, so the descriptors are safe to share between threads and
    with forked children. Nothing is evicted: past the share a file is opened for one read.
    """

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._capacity = max(8, min(soft // 4, 4096))
        self._open: dict[Path, int] = {}
        weakref.finalize(self, _close_all, self._open)

    def read(self, path: Path, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`. Raises DataError when the file is missing or shorter."""
        try:
            descriptor = self._open.get(path)
            if descriptor is not None:
                data = os.pread(descriptor, count, offset)
            else:
                data = self._read_new(path, offset, count)
        except OSError as error:
            raise DataError(
                f"Cannot read {path}: {error.strerror}. Copy the store anew."
            ) from error
        if len(data) != count:
            raise DataError(f"{path} ends early: {count} bytes wanted at {offset}.")
        return data

    def _read_new(self, path: Path, offset: int, count: int) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # No lock (a fork could copy it locked): the first of two racing threads keeps its
        # descriptor, the other closes its own after use.
        if len(self._open) < self._capacity:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            if self._open.setdefault(path, descriptor) == descriptor:
                return os.pread(descriptor, count, offset)
        try:
            return os.pread(descriptor, count, offset)
        finally:
            os.close(descriptor)


def _close_all(descriptors: dict[Path, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    descriptors.clear()


class Shard:
    """Random access to the payloads of one shard file.

    Args:
        path: the file.
        frames: how many payloads it must hold.
        files: where descriptors live.

    Raises:
        DataError: when the file is missing, or its index is damaged.
    """

    def __init__(self, path: Path, frames: int, files: FileTable):
        self._path = path
        self._files = files
        self._index = self._read_index(frames)

    def _read_index(self, frames: int) -> NDArray[np.uint64]:
        try:
            size = self._path.stat().st_size
        except OSError as error:
            raise DataError(
                f"The image file {self._path} is missing. Copy the store anew from its source."
            ) from error
        count = ENTRY_BYTES * frames + CRC_BYTES
        tail = self._files.read(self._path, size - count, count) if size >= count else b""
        body, checksum = tail[:-CRC_BYTES], tail[-CRC_BYTES:]
        if not tail or google_crc32c.value(body) != int.from_bytes(checksum, "little"):
            raise DataError(
                f"The index of {self._path} does not match its checksum for {frames} frames: "
                "the file is cut short or damaged. Copy the store anew from its source."
            )
        return np.frombuffer(body, "<u8").reshape(frames, 2)

    def read(self, frame: int) -> bytes:
        """The payload of one frame, counted from the segment's first."""
        offset, count = self._index[frame].tolist()
        return self._files.read(self._path, offset, count)

    def read_many(self, frames: NDArray[np.int64]) -> list[memoryview]:
        """The payloads of ascending frames (n,), neighbours in the file by one read.

        Frames count from the segment's first. The views share the memory of what was read.
        """
        index = self._index[frames].astype(np.int64)
        starts, ends = index[:, 0], index.sum(axis=1)
        breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
        offsets, stops = starts.tolist(), ends.tolist()
        payloads: list[memoryview] = []
        for begin, end in pairwise((0, *breaks.tolist(), len(offsets))):
            base = offsets[begin]
            block = memoryview(self._files.read(self._path, base, stops[end - 1] - base))
            payloads += [block[offsets[n] - base : stops[n] - base] for n in range(begin, end)]
        return payloads
