"""One camera's frames of one segment, in one file: a zarr v3 shard.

    payload 0 | payload 1 | ... | index: N x (offset, nbytes) uint64 | crc32c uint32

This is the `sharding_indexed` layout of the zarr v3 specification with the index at
the end and one frame per inner chunk, written and read here without zarr: a random
frame costs one `pread` and one decode.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from vla.data.storage import Storage
from vla.errors import DataError

CRC_BYTES = 4
ENTRY_BYTES = 16


def pack_shard(payloads: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of the file for these payloads, in frame order: each of them, then the index."""
    sizes = []
    for payload in payloads:
        sizes.append(len(payload))
        yield payload
    index = np.empty((len(sizes), 2), "<u8")
    index[:, 1] = sizes
    index[:, 0] = np.cumsum(index[:, 1]) - index[:, 1]
    tail = index.tobytes()
    yield tail
    yield google_crc32c.value(tail).to_bytes(CRC_BYTES, "little")


def unpack_shard(content: bytes, frames: int, name: str) -> list[bytes]:
    """The payloads of a whole file; the inverse of `pack_shard`. Raises DataError."""
    index = _parse_index(content[-_tail_bytes(frames) :], frames, name)
    return [content[offset : offset + count] for offset, count in index.tolist()]


def _tail_bytes(frames: int) -> int:
    return ENTRY_BYTES * frames + CRC_BYTES


def _parse_index(tail: bytes, frames: int, name: str) -> NDArray[np.uint64]:
    """(offset, nbytes) rows (frames, 2). Raises DataError when they fail their checksum."""
    body, checksum = tail[:-CRC_BYTES], tail[-CRC_BYTES:]
    crc = int.from_bytes(checksum, "little")
    if len(tail) != _tail_bytes(frames) or google_crc32c.value(body) != crc:
        raise DataError(
            f"The index of {name} does not match its checksum for {frames} frames: "
            "the file is cut short or damaged. Copy the store anew from its source."
        )
    return np.frombuffer(body, "<u8").reshape(frames, 2)


class Shard:
    """Random access to the payloads of one shard file; its index stays in memory.

    Args:
        storage: of the store.
        name: of the file.
        frames: how many payloads it must hold.

    Raises:
        DataError: when the file is missing, or its index is damaged.
    """

    def __init__(self, storage: Storage, name: str, frames: int):
        self._storage = storage
        self._name = name
        count = _tail_bytes(frames)
        size = storage.size(name)
        tail = storage.read(name, size - count, count) if size >= count else b""
        self._index = _parse_index(tail, frames, f"{storage}/{name}")

    def read(self, frames: NDArray[np.int64]) -> list[memoryview]:
        """The payloads of frames (n,), those that follow each other in the file by one read.

        Frames count from the segment's first. The views share the memory of what was read.
        """
        index = self._index[frames].astype(np.int64)
        starts, ends = index[:, 0], index.sum(axis=1)
        breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
        offsets, stops = starts.tolist(), ends.tolist()
        runs = list(pairwise((0, *breaks.tolist(), len(offsets)))) if offsets else []
        ranges = [(offsets[begin], stops[end - 1] - offsets[begin]) for begin, end in runs]
        payloads: list[memoryview] = []
        blocks = self._storage.read_ranges(self._name, ranges)
        for (begin, end), (base, _), block in zip(runs, ranges, blocks, strict=True):
            view = memoryview(block)
            payloads += [view[offsets[n] - base : stops[n] - base] for n in range(begin, end)]
        return payloads
