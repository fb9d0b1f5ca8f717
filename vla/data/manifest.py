"""`manifest.json`: what a store holds, and in which order. The only file that ever changes.

It is replaced in one step, after the segment it adds is complete on disk, so that a
reader sees the store before or after an append and never in between.
"""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vla.embodiment import Embodiment
from vla.errors import ContractError, DataError
from vla.files import write_bytes

FORMAT = "vla-trajectory-store"
SCHEMA = 1
FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One episode's line in the manifest.

    Attributes:
        uid: digest of the episode's content; equal episodes have equal uids.
        instruction, length (frames), success, source: as in `Trajectory`.
    """

    uid: str
    instruction: str
    length: int
    success: bool | None
    source: dict[str, Any]


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
        labels: width K of each auxiliary label; None until the first episode decides.
        segments: in the order of their frames.
    """

    embodiment: Embodiment
    provenance: dict[str, Any]
    codec: dict[str, Any]
    labels: dict[str, int] | None = None
    segments: tuple[SegmentRecord, ...] = ()

    def add(self, segment: SegmentRecord, labels: dict[str, int]) -> "Manifest":
        """The same manifest with one more segment."""
        return replace(self, segments=(*self.segments, segment), labels=labels)

    def write(self, root: Path) -> None:
        """Replace `root/manifest.json` in one durable step."""
        value = {
            "format": FORMAT,
            "schema": SCHEMA,
            "embodiment": self.embodiment.to_json(),
            "provenance": self.provenance,
            "codec": self.codec,
            "labels": self.labels,
            "segments": [asdict(segment) for segment in self.segments],
        }
        # Infinite bounds are legal, so this is Python's JSON, with Infinity.
        write_bytes(root / FILE, json.dumps(value, indent=1).encode())

    @classmethod
    def read(cls, root: Path) -> "Manifest":
        """Read and check `root/manifest.json`.

        Raises:
            DataError: when it is missing, unreadable, or of another schema.
        """
        path = root / FILE
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise DataError(
                f"{root} is not a trajectory store: it has no {FILE}. "
                "Record or convert demonstrations into it first (`vla convert`)."
            ) from error
        except (OSError, ValueError) as error:
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
                episodes=tuple(EpisodeRecord(**episode) for episode in segment["episodes"]),
                files=dict(segment["files"]),
            )
            for segment in value["segments"]
        )
        return cls(
            embodiment=Embodiment.from_json(value["embodiment"]),
            provenance=value["provenance"],
            codec=value["codec"],
            labels=value["labels"],
            segments=segments,
        )


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
