"""Writing one segment: a complete zarr v3 group that never changes again.

    <number>-<digest>/
        images/<camera>   uint8 (N, H, W, 3), one frame per inner chunk, one shard
        data/state, data/action, data/time, data/labels/<name>   one zstd chunk each
        episode_ends      int64 (E,), counted from the segment's first frame
        attributes        the episodes' records, hz, embodiment hash

It is built under a temporary name and appears under its own in one rename.
"""

import hashlib
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from vla.data.codec import ImageCodec
from vla.data.manifest import EpisodeRecord, SegmentRecord
from vla.data.shard import pack_shard
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.files import sync
from vla.types import Trajectory

SEGMENTS = "segments"
ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedEpisode:
    """An episode as it goes to disk: image payloads per camera, arrays per column."""

    record: EpisodeRecord
    payloads: dict[str, list[bytes]]
    columns: dict[str, NDArray[Any]]

    @property
    def num_bytes(self) -> int:
        """Bytes of image payload."""
        return sum(len(payload) for frames in self.payloads.values() for payload in frames)


def encode_episode(
    trajectory: Trajectory, embodiment: Embodiment, codec: ImageCodec, *, name: str
) -> EncodedEpisode:
    """Compress the images and name the episode after its content.

    Raises:
        DataError: for a JPEG that is damaged or of another size, naming episode and frame.
    """
    payloads = {}
    for camera, frames in trajectory.images.items():
        payloads[camera] = []
        for step, frame in enumerate(frames):
            try:
                payload = (
                    codec.adopt(frame, embodiment.cameras[camera])
                    if isinstance(frame, bytes)
                    else codec.encode(frame)
                )
            except DataError as error:
                raise DataError(f"{name}, camera {camera!r}, step {step}: {error}") from error
            payloads[camera].append(payload)
    columns: dict[str, NDArray[Any]] = {
        "state": trajectory.state,
        "action": trajectory.action,
        "time": trajectory.time,
        **{f"labels/{label}": values for label, values in trajectory.labels.items()},
    }
    record = EpisodeRecord(
        uid=_digest(trajectory, payloads, columns),
        instruction=trajectory.instruction,
        length=len(trajectory),
        success=trajectory.success,
        source=trajectory.source,
    )
    return EncodedEpisode(record=record, payloads=payloads, columns=columns)


def _digest(
    trajectory: Trajectory, payloads: dict[str, list[bytes]], columns: dict[str, NDArray[Any]]
) -> str:
    """128 bits of SHA-256 over everything but `source`, each part preceded by its length."""
    digest = hashlib.sha256()
    parts = [trajectory.instruction.encode(), repr(trajectory.success).encode()]
    for key in sorted(columns):
        parts += [key.encode(), np.ascontiguousarray(columns[key]).tobytes()]
    for camera in sorted(payloads):
        parts += [camera.encode(), *payloads[camera]]
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]


def write_segment(
    root: Path,
    number: int,
    episodes: list[EncodedEpisode],
    *,
    embodiment: Embodiment,
    codec: ImageCodec,
) -> SegmentRecord:
    """Write the episodes as the folder `root/segments/<number>-<digest>` and make it durable.

    Call while holding the store's lock. The segment counts once the manifest lists it.
    """
    records = tuple(episode.record for episode in episodes)
    uids = "".join(record.uid for record in records)
    name = f"{number:06d}-{hashlib.sha256(uids.encode()).hexdigest()[:8]}"
    (root / SEGMENTS).mkdir(exist_ok=True)
    folder = root / SEGMENTS / f".tmp-{uuid.uuid4().hex[:8]}"
    _write_group(folder, episodes, embodiment, codec)
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        sync(path)  # works for files as well
    sync(folder)
    final = root / SEGMENTS / name
    if final.exists():  # a writer died between this rename and the manifest's: it never counted
        shutil.rmtree(final)
    folder.replace(final)
    sync(final.parent)
    return SegmentRecord(name=name, episodes=records, files=files)


def _write_group(
    folder: Path, episodes: list[EncodedEpisode], embodiment: Embodiment, codec: ImageCodec
) -> None:
    import zarr

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
    serializer, *compressors = codec.pipeline()
    for name, camera in embodiment.cameras.items():
        frame = (camera.height, camera.width, 3)
        group.create_array(
            f"images/{name}",
            shape=(frames, *frame),
            dtype="uint8",
            chunks=(1, *frame),
            shards=(frames, *frame),
            serializer=serializer,
            compressors=compressors,
        )
        path = shard_path(folder, name)
        path.parent.mkdir(parents=True)
        path.write_bytes(pack_shard([p for episode in episodes for p in episode.payloads[name]]))


def shard_path(segment: Path, camera: str) -> Path:
    """The one file that holds a camera's frames."""
    return segment / "images" / camera / "c" / "0" / "0" / "0" / "0"


def read_column(segment: Path, record: SegmentRecord, key: str, width: int | None) -> NDArray[Any]:
    """A low-dimensional column of one segment, checked against its SHA-256.

    Args:
        segment: the folder.
        record: its manifest entry.
        key: "state", "action", "time" or "labels/<name>".
        width: number of columns; None for the one-dimensional "time".

    Raises:
        DataError: when the file is missing or not the one that was written.
    """
    dtype = "<f8" if key == "time" else "<f4"
    shape = (record.length,) if width is None else (record.length, width)
    if 0 in shape:
        return np.zeros(shape, dtype)
    file = f"data/{key}/c/" + "/".join("0" * len(shape))
    try:
        data = (segment / file).read_bytes()
    except OSError as error:
        raise DataError(
            f"{segment / file} cannot be read: {error.strerror}. Copy the store anew."
        ) from error
    if hashlib.sha256(data).hexdigest() != record.files.get(file):
        raise DataError(
            f"{segment / file} is not the file that was written (SHA-256 differs). "
            "Copy the store anew from its source."
        )
    return np.frombuffer(imagecodecs.zstd_decode(data), dtype).reshape(shape)
