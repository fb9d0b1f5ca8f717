"""`meta/vla.json`: what a store knows and LeRobot's format cannot hold.

`vla export` writes it into the sets it makes; the importer reads it back, so that a store
that went through LeRobot's format has the same embodiment, provenance and episode records.
Numbers that LeRobot has no feature for travel as extra columns named below; LeRobot's
policies look at features that begin with "observation" or "action" only and pass these by.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vla.embodiment import Embodiment
from vla.errors import ContractError, DataError
from vla.files import write_bytes
from vla.types import Subtask, Trajectory

FILE = "meta/vla.json"
FORMAT = "vla-lerobot-extra"
SCHEMA = 1
TIME = "vla.time"
"""float64 (1,): `Trajectory.time`; LeRobot's own timestamp is the row number over the rate."""
SENT = "vla.sent"
CAPTURED = "vla.captured."
LABELS = "vla.labels."


@dataclass(frozen=True, kw_only=True)
class EpisodeExtra:
    """One episode's share.

    Attributes:
        uid: in the store it came from.
        length, instruction, success, subtasks, source: as in `Trajectory`.
    """

    uid: str
    length: int
    instruction: str
    success: bool | None
    subtasks: tuple[Subtask, ...]
    source: dict[str, Any]

    @classmethod
    def of(cls, trajectory: Trajectory, uid: str) -> "EpisodeExtra":
        """What LeRobot cannot hold of `trajectory`."""
        return cls(
            uid=uid,
            length=len(trajectory),
            instruction=trajectory.instruction,
            success=trajectory.success,
            subtasks=trajectory.subtasks,
            source=trajectory.source,
        )


@dataclass(frozen=True, kw_only=True)
class Extra:
    """The file's content.

    Attributes:
        embodiment, provenance: the store's.
        cameras: LeRobot's feature key to the camera's name.
        episodes: in order of LeRobot's episode_index.
        left_out: what could not be exported at all, in words.
    """

    embodiment: Embodiment
    provenance: dict[str, Any]
    cameras: dict[str, str]
    episodes: tuple[EpisodeExtra, ...]
    left_out: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write it into a LeRobot data set."""
        value = {"format": FORMAT, "schema": SCHEMA, **asdict(self)}
        # Bounds may be infinite, so this is Python's JSON, with Infinity.
        write_bytes(folder / FILE, json.dumps(value, indent=1).encode())

    @classmethod
    def read(cls, folder: Path, lengths: list[int]) -> "Extra | None":
        """Read it, or None when the set has none.

        Args:
            folder: the data set.
            lengths: rows of each episode, as LeRobot's own metadata tells.

        Raises:
            DataError: when it is damaged, or tells of other episodes because the set was
                edited after the export.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            value = json.loads(path.read_bytes())
            if (value.pop("format"), value.pop("schema")) != (FORMAT, SCHEMA):
                raise DataError(f"{path} was written by another version; this reads {SCHEMA}.")
            episodes = tuple(
                EpisodeExtra(
                    **{**row, "subtasks": tuple(Subtask(**item) for item in row["subtasks"])}
                )
                for row in value["episodes"]
            )
            embodiment = Embodiment.from_json(value["embodiment"])
            rest = {"embodiment": embodiment, "episodes": episodes}
            extra = cls(**{**value, **rest, "left_out": tuple(value["left_out"])})
        except (OSError, ValueError, KeyError, TypeError, ContractError) as error:
            raise DataError(
                f"{path} cannot be read: {error!r}. Export the store anew, or delete the file and "
                "declare the axes by hand (source.unit=...)."
            ) from error
        if [episode.length for episode in episodes] != lengths:
            raise DataError(
                f"{path} describes {len(episodes)} episodes, other than the {len(lengths)} here: "
                "the set was edited after the export. Delete the file and declare the axes by hand "
                "(source.unit=...)."
            )
        return extra
