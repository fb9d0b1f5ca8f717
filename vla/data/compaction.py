"""Fewer, larger segments: what was recorded one episode at a time reads like one film.

A run of small neighbours is written again as one segment, payloads byte for byte, and one
replacement of the manifest swaps it in. Order, uids and the store's hash stay. The folders it
replaces stay too, unlisted, for readers that opened the store before, until
`collect_garbage` deletes them.
"""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from vla.data.manifest import Manifest, SegmentRecord
from vla.data.storage import LocalStorage
from vla.data.store_segment import SEGMENTS, read_segment, write_segment
from vla.data.store_writer import locked_manifest


def compact_segments(root: Path, target_bytes: int) -> Manifest:
    """Merge small segments until no two neighbours are worth it; returns the manifest then.

    The lock is taken anew for each segment written, so that appends wait for one at most.

    Raises:
        DataError: when an episode is not what its uid names; the store stays as it was.
    """
    sizes: dict[str, int] = {}
    while True:
        with locked_manifest(root) as manifest:
            for segment in manifest.segments:
                if segment.name not in sizes:
                    sizes[segment.name] = _measure(root, segment)
            run = find_run([sizes[segment.name] for segment in manifest.segments], target_bytes)
            if run is None:
                return manifest
            _merge(root, manifest, run)


def _measure(root: Path, segment: SegmentRecord) -> int:
    """Bytes of a segment's arrays; zarr's metadata would shrink with merging."""
    storage = LocalStorage(root / SEGMENTS / segment.name)
    return sum(storage.size(file) for file in segment.files if not file.endswith("zarr.json"))


def find_run(sizes: list[int], target: int) -> slice | None:
    """The first two or more neighbours, each below half of `target`, within it together.

    Half, so that a byte is not copied again and again as a store grows: what has reached half
    of the target is done.
    """
    start, total = 0, 0
    for index, size in enumerate(sizes):
        small = 2 * size < target
        if small and total + size <= target:
            total += size
            continue
        if index - start >= 2:
            return slice(start, index)
        start, total = (index, size) if small else (index + 1, 0)
    return slice(start, len(sizes)) if len(sizes) - start >= 2 else None


def _merge(root: Path, manifest: Manifest, run: slice) -> None:
    storage, segments = LocalStorage(root), list(manifest.segments)
    episodes = [e for s in segments[run] for e in read_segment(storage, s, manifest)]
    record = write_segment(root, episodes, manifest)
    for segment in segments[run]:
        # From now on it ages; before the swap, so that no kill can leave it looking old.
        os.utime(root / SEGMENTS / segment.name)
    segments[run] = [record]
    replace(manifest, segments=tuple(segments)).write(root)


def collect_garbage(root: Path, min_age_seconds: float) -> list[str]:
    """Delete the segment folders that no manifest lists; returns their names.

    Args:
        root: the store's folder.
        min_age_seconds: leave alone what was listed more recently than this, because a
            reader that opened the store then may still need it.
    """
    deleted = []
    with locked_manifest(root) as manifest:
        listed = {segment.name for segment in manifest.segments}
        for folder in sorted((root / SEGMENTS).glob("[0-9]*")):
            if folder.name in listed or time.time() - folder.stat().st_mtime < min_age_seconds:
                continue
            doomed = folder.with_name(f".tmp-{folder.name}")  # a kill in between: a leftover
            folder.replace(doomed)
            shutil.rmtree(doomed)
            deleted.append(folder.name)
    return deleted
