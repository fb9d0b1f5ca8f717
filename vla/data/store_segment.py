"""One segment: a complete zarr v3 group that never changes again.

    <number>-<digest>/
        images/<camera>   uint8 (N, H, W, 3), one frame per inner chunk, one shard
        depth/<camera>    uint16 (N, H, W), the same
        data/state, data/action, data/time, data/sent, data/labels/<name>,
        data/captured/<camera>   one zstd chunk each
        episode_ends      int64 (E,), counted from the segment's first frame
        attributes        the episodes' records, hz, embodiment hash

It is built under a temporary name and appears under its own in one rename.
"""

import hashlib
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from vla.data.codec import DEPTH_CODEC, ImageCodec, restore_codec
from vla.data.encoding import EncodedEpisode, digest_episode
from vla.data.manifest import Manifest, SegmentRecord, Shape
from vla.data.shard import pack_shard, unpack_shard
from vla.data.storage import Storage
from vla.errors import DataError
from vla.files import digest_file, sync

SEGMENTS = "segments"
ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}


def write_segment(root: Path, episodes: list[EncodedEpisode], manifest: Manifest) -> SegmentRecord:
    """Write the episodes as a new folder `root/segments/<number>-<digest>` and make it durable.

    Call while holding the store's lock. The segment counts once the manifest lists it.

    Args:
        root: the store's folder.
        episodes: what goes in, in order.
        manifest: the store's, with `optional` decided.
    """
    records = tuple(episode.record for episode in episodes)
    uids = "".join(record.uid for record in records)
    (root / SEGMENTS).mkdir(exist_ok=True)
    folder = root / SEGMENTS / f".tmp-{uuid.uuid4().hex[:8]}"
    _write_group(folder, episodes, manifest)
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[str(path.relative_to(folder))] = digest_file(path)
        sync(path)  # works for files as well
    sync(folder)
    name = f"{_next_number(root):06d}-{hashlib.sha256(uids.encode()).hexdigest()[:8]}"
    folder.replace(root / SEGMENTS / name)
    sync(root / SEGMENTS)
    return SegmentRecord(name=name, episodes=records, files=files)


def _next_number(root: Path) -> int:
    """One more than any folder has, listed or not: a name is never used for other content."""
    heads = (path.name.partition("-")[0] for path in (root / SEGMENTS).iterdir())
    return max((int(head) for head in heads if head.isdecimal()), default=-1) + 1


def _write_group(folder: Path, episodes: list[EncodedEpisode], manifest: Manifest) -> None:
    import zarr

    embodiment = manifest.embodiment
    group = zarr.create_group(
        folder,
        attributes={
            "embodiment_hash": embodiment.hash,
            "hz": embodiment.hz,
            "episodes": [asdict(episode.record) for episode in episodes],
        },
    )
    columns = {
        f"data/{key}": np.concatenate([episode.columns[key] for episode in episodes])
        for key in episodes[0].columns
    }
    lengths = [episode.record.length for episode in episodes]
    columns["episode_ends"] = np.cumsum(lengths, dtype=np.int64)
    for key, values in columns.items():
        if values.size:  # a body without, say, state axes has nothing to write
            group.create_array(
                key,
                data=values,
                chunks=values.shape,
                compressors=[ZSTD],
                config={"write_empty_chunks": True},
            )
    frames = sum(lengths)
    codec = restore_codec(manifest.codec)
    for key, shape in manifest.films.items():
        serializer, *compressors = _film_codec(key, codec).pipeline()
        group.create_array(
            key,
            shape=(frames, *shape),
            dtype="uint16" if key.startswith("depth/") else "uint8",
            chunks=(1, *shape),
            shards=(frames, *shape),
            serializer=serializer,
            compressors=compressors,
        )
        path = folder / film_file(key, shape)
        path.parent.mkdir(parents=True)
        payloads = (payload for episode in episodes for payload in episode.payloads[key])
        with path.open("wb") as file:
            file.writelines(pack_shard(payloads))


def _film_codec(key: str, codec: ImageCodec) -> ImageCodec:
    return DEPTH_CODEC if key.startswith("depth/") else codec


def film_file(key: str, shape: Shape) -> str:
    """The one file in a segment that holds a film ("images/front") of frames of `shape`."""
    return f"{key}/c/0" + "/0" * len(shape)


def column_file(key: str, shape: Shape) -> str:
    """The one file in a segment that holds a column with entries of `shape`."""
    return f"data/{key}/c/0" + "/0" * len(shape)


def read_column(
    storage: Storage, record: SegmentRecord, key: str, manifest: Manifest
) -> NDArray[Any]:
    """A low-dimensional column (N, ...) of one segment, checked against its SHA-256.

    Args:
        storage: the store's files.
        record: the segment.
        key: one of `Manifest.columns`.
        manifest: the store's.

    Raises:
        DataError: when the file is missing or not the one that was written.
    """
    dtype, entry = manifest.columns[key]
    shape = (record.length, *entry)
    if 0 in shape:
        return np.zeros(shape, dtype)
    file = column_file(key, entry)
    name = f"{SEGMENTS}/{record.name}/{file}"
    data = storage.read_all(name)
    if hashlib.sha256(data).hexdigest() != record.files.get(file):
        raise DataError(
            f"{storage}/{name} is not the file that was written (SHA-256 differs). "
            "Copy the store anew from its source."
        )
    return np.frombuffer(imagecodecs.zstd_decode(data), dtype).reshape(shape)


def read_segment(
    storage: Storage, segment: SegmentRecord, manifest: Manifest
) -> list[EncodedEpisode]:
    """All episodes of a segment as bytes, nothing decoded, each checked against its uid.

    Raises:
        DataError: when a file is missing, or an episode is not what its uid names.
    """
    films = manifest.films
    columns = {key: read_column(storage, segment, key, manifest) for key in manifest.columns}
    payloads = {}
    for key, shape in films.items():
        name = f"{SEGMENTS}/{segment.name}/{film_file(key, shape)}"
        payloads[key] = unpack_shard(storage.read_all(name), segment.length, f"{storage}/{name}")
    episodes, start = [], 0
    for record in segment.episodes:
        rows = slice(start, start + record.length)
        start += record.length
        episode = EncodedEpisode(
            record=record,
            payloads={key: frames[rows] for key, frames in payloads.items()},
            columns={key: values[rows] for key, values in columns.items()},
        )
        if digest_episode(record, episode.payloads, episode.columns) != record.uid:
            raise DataError(
                f"Episode {record.uid} in {storage}/{SEGMENTS}/{segment.name} is not what was "
                "written: its content has another digest. Copy the store anew from its source."
            )
        episodes.append(episode)
    return episodes
