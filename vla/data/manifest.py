"""`manifest.json`: what a store holds, and in which order. The only file that ever changes.

It is replaced in one step, after the segment it adds is complete on disk, so that a
reader sees the store before or after an append and never in between.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vla.data.storage import LocalStorage, Storage
from vla.embodiment import Embodiment
from vla.errors import ContractError, DataError
from vla.files import write_bytes
from vla.types import Subtask

Shape = tuple[int, ...]

FORMAT = "vla-trajectory-store"
SCHEMA = 1
FILE = "manifest.json"
_TYPES = {"labels": "<f4", "sent": "<f4", "captured": "<f8"}


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One episode's line in the manifest.

    Attributes:
        uid: digest of the episode's content; equal episodes have equal uids.
        instruction, length (frames), success, source, subtasks: as in `Trajectory`.
        has_action: False for a film; its rows of the column "action" are zeros.
    """

    uid: str
    instruction: str
    length: int
    success: bool | None
    source: dict[str, Any]
    has_action: bool = True
    subtasks: tuple[Subtask, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """One immutable folder: its episodes in order, and the SHA-256 of each file in it."""

    name: str
    episodes: tuple[EpisodeRecord, ...]
    files: dict[str, str]

    @property
    def length(self) -> int:
        """Frames in the segment."""
        return sum(episode.length for episode in self.episodes)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The store's table of contents.

    Attributes:
        embodiment: what every number means.
        provenance: where the data comes from, JSON values.
        codec: `ImageCodec.to_json`.
        optional: which optional columns every episode has, and the shape of one step's entry:
            "labels/<name>" (K,), "sent" (A,), "captured/<camera>" (), "depth/<camera>" (H, W).
            None until the first episode decides.
        segments: in the order of their frames.
    """

    embodiment: Embodiment
    provenance: dict[str, Any]
    codec: dict[str, Any]
    optional: dict[str, Shape] | None = None
    segments: tuple[SegmentRecord, ...] = ()

    @property
    def columns(self) -> dict[str, tuple[str, Shape]]:
        """Type and entry shape of every column that is kept whole."""
        optional = {k: s for k, s in (self.optional or {}).items() if k not in self.films}
        return {
            "state": ("<f4", (len(self.embodiment.state),)),
            "action": ("<f4", (len(self.embodiment.action),)),
            "time": ("<f8", ()),
            **{key: (_TYPES[key.split("/")[0]], shape) for key, shape in optional.items()},
        }

    @property
    def films(self) -> dict[str, Shape]:
        """Shape of one frame of each array that is kept frame by frame."""
        cameras = self.embodiment.cameras.items()
        depth = {k: s for k, s in (self.optional or {}).items() if k.startswith("depth/")}
        return {f"images/{name}": (c.height, c.width, 3) for name, c in cameras} | depth

    def write(self, root: Path) -> None:
        """Replace `root/manifest.json` in one durable step."""
        value = {
            "format": FORMAT,
            "schema": SCHEMA,
            "embodiment": self.embodiment.to_json(),
            "provenance": self.provenance,
            "codec": self.codec,
            "optional": self.optional,
            "segments": [asdict(segment) for segment in self.segments],
        }
        # Infinite bounds are legal, so this is Python's JSON, with Infinity.
        write_bytes(root / FILE, json.dumps(value, indent=1).encode())

    @classmethod
    def read(cls, root: Path) -> "Manifest":
        """Read and check `root/manifest.json`. Raises DataError; see `load`."""
        return cls.load(LocalStorage(root))

    @classmethod
    def load(cls, storage: Storage) -> "Manifest":
        """Read and check the manifest of a store anywhere.

        Raises:
            DataError: when it is missing, unreadable, or of another schema.
        """
        path = f"{storage}/{FILE}"
        try:
            value = json.loads(storage.read_all(FILE))
        except DataError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise DataError(
                    f"{storage} is not a trajectory store: it has no {FILE}. "
                    "Record or convert demonstrations into it first (`vla convert`)."
                ) from error
            raise DataError(f"{storage} does not open as a trajectory store: {error}") from error
        except ValueError as error:
            raise DataError(f"{path} cannot be read: {error}. {_RECOPY}") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(f"{path} is not the manifest of a trajectory store ({FORMAT}).")
        if value.get("schema") != SCHEMA:
            raise DataError(
                f"{path} has schema {value.get('schema')!r}; this version reads {SCHEMA}. "
                "Convert the source data again with this version, or install the one that wrote it."
            )
        try:
            return cls._restore(value)
        except (KeyError, TypeError, AttributeError, ContractError) as error:
            raise DataError(f"{path} is damaged: {error!r}. {_RECOPY}") from error

    @classmethod
    def _restore(cls, value: dict[str, Any]) -> "Manifest":
        segments = tuple(
            SegmentRecord(
                name=segment["name"],
                episodes=tuple(_restore_episode(episode) for episode in segment["episodes"]),
                files=dict(segment["files"]),
            )
            for segment in value["segments"]
        )
        optional = value["optional"] if "optional" in value else _translate(value["labels"])
        return cls(
            embodiment=Embodiment.from_json(value["embodiment"]),
            provenance=value["provenance"],
            codec=value["codec"],
            optional=None if optional is None else {k: tuple(v) for k, v in optional.items()},
            segments=segments,
        )


def _restore_episode(value: dict[str, Any]) -> EpisodeRecord:
    subtasks = tuple(Subtask(**subtask) for subtask in value.get("subtasks", ()))
    return EpisodeRecord(**{**value, "subtasks": subtasks})


def _translate(labels: dict[str, int] | None) -> dict[str, list[int]] | None:
    """The first stores wrote "labels" (name: width) instead of "optional"."""
    return None if labels is None else {f"labels/{name}": [k] for name, k in labels.items()}


_RECOPY = "Copy the store anew from its source, or convert the data again; segments are untouched."


def remove_leftovers(root: Path, segments: Path) -> None:
    """Delete what writers that died left half done; call only while holding the store's lock.

    A complete segment that the manifest does not list is ignored but kept: deleting it could
    destroy data when somebody has put an older manifest back.
    """
    for path in root.glob(f".{FILE}.*"):
        path.unlink()
    for path in segments.glob(".tmp-*"):
        shutil.rmtree(path)
