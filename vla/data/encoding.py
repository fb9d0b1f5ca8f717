"""An episode as it goes to disk, and the digest that names it."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.codec import DEPTH_CODEC, ImageCodec
from vla.data.manifest import EpisodeRecord, Shape
from vla.embodiment import Camera, Embodiment
from vla.errors import DataError
from vla.types import Subtask, Trajectory, Uint8


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedEpisode:
    """One episode's bytes.

    Attributes:
        record: its line in the manifest.
        payloads: one per frame, for each of `Manifest.films`.
        columns: (N, ...) for each other column.
    """

    record: EpisodeRecord
    payloads: dict[str, list[bytes]]
    columns: dict[str, NDArray[Any]]

    @property
    def num_bytes(self) -> int:
        """Bytes of image and depth payload."""
        return sum(len(payload) for frames in self.payloads.values() for payload in frames)


def gather_optional(trajectory: Trajectory) -> dict[str, NDArray[Any]]:
    """The optional columns that a trajectory has, by their names in a store."""
    parts = {f"labels/{name}": values for name, values in trajectory.labels.items()}
    if trajectory.sent is not None:
        parts["sent"] = trajectory.sent
    parts |= {f"captured/{name}": times for name, times in trajectory.captured.items()}
    return parts | {f"depth/{name}": frames for name, frames in trajectory.depth.items()}


def describe_optional(trajectory: Trajectory) -> dict[str, Shape]:
    """As `Manifest.optional`."""
    return {key: values.shape[1:] for key, values in gather_optional(trajectory).items()}


def encode_episode(
    trajectory: Trajectory, embodiment: Embodiment, codec: ImageCodec, *, name: str
) -> EncodedEpisode:
    """Compress images and depth, and name the episode after its content.

    Raises:
        DataError: for a JPEG that is damaged or of another size, naming episode and frame.
    """
    payloads = {
        f"images/{camera}": _encode_frames(
            frames, embodiment.cameras[camera], codec, name=f"{name}, camera {camera!r}"
        )
        for camera, frames in trajectory.images.items()
    }
    action = trajectory.action
    if action is None:
        action = np.zeros((len(trajectory), len(embodiment.action)), np.float32)
    columns = {"state": trajectory.state, "action": action, "time": trajectory.time}
    for key, values in gather_optional(trajectory).items():
        if key.startswith("depth/"):
            payloads[key] = [DEPTH_CODEC.encode(frame) for frame in values]
        else:
            columns[key] = values
    success = trajectory.success
    record = EpisodeRecord(
        uid="",
        instruction=trajectory.instruction,
        length=len(trajectory),
        success=None if success is None else bool(success),  # NumPy's own is no JSON
        source=trajectory.source,
        has_action=trajectory.action is not None,
        subtasks=tuple(_plain(subtask) for subtask in trajectory.subtasks),
    )
    record = replace(record, uid=digest_episode(record, payloads, columns))
    return EncodedEpisode(record=record, payloads=payloads, columns=columns)


def _encode_frames(
    frames: Uint8 | list[bytes], camera: Camera, codec: ImageCodec, *, name: str
) -> list[bytes]:
    payloads = []
    for step, frame in enumerate(frames):
        try:
            adopt = isinstance(frame, bytes)
            payloads.append(codec.adopt(frame, camera) if adopt else codec.encode(frame))
        except DataError as error:
            raise DataError(f"{name}, step {step}: {error}") from error
    return payloads


def _plain(subtask: Subtask) -> Subtask:
    success = None if subtask.success is None else bool(subtask.success)
    return replace(subtask, start=int(subtask.start), stop=int(subtask.stop), success=success)


def digest_episode(
    record: EpisodeRecord, payloads: dict[str, list[bytes]], columns: dict[str, NDArray[Any]]
) -> str:
    """128 bits of SHA-256 over everything but `source`, each part preceded by its length.

    The bytes hashed are those stored, so that a reader can check them without decoding. What
    an episode does not have adds nothing. `docs/data.md` lists the parts.
    """
    parts = [record.instruction.encode(), repr(record.success).encode()]
    for key in sorted(columns):
        parts += [key.encode(), np.ascontiguousarray(columns[key]).tobytes()]
    for key in sorted(payloads):
        parts += [key.removeprefix("images/").encode(), *payloads[key]]
    if not record.has_action:
        parts.append(b"no action")
    for subtask in record.subtasks:
        words = (subtask.start, subtask.stop, subtask.text, repr(subtask.success))
        parts += [b"subtask", *(str(word).encode() for word in words)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]
