"""Which public format to convert from, and where its files lie."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from vla.data.convert.conversion import TrajectorySource


@dataclass(kw_only=True, slots=True)
class SourceConfig:
    """Base of all formats.

    Attributes:
        kind: the format's name.
    """

    kind: str = "???"

    def build(self) -> "TrajectorySource":
        """Open the source. Raises DataError."""
        raise ConfigError("source is not chosen; give e.g. source=bridge.")


@dataclass(kw_only=True, slots=True)
class BridgeConfig(SourceConfig):
    """BridgeData V2 as RLDS.

    Attributes:
        path: the folder with features.json, dataset_info.json and the tfrecord files.
        split: as that folder names it.
        cameras: source name to our name; empty for all four. Name those to keep: many episodes
            of the full data lack all but image_0 and hold black pictures instead.
    """

    kind: str = "bridge"
    path: str = "???"
    split: str = "train"
    cameras: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Not a default of the field: what is given would be added to it instead of replacing it.
        self.cameras = self.cameras or {
            "image_0": "front",
            "image_1": "side_1",
            "image_2": "side_2",
            "image_3": "wrist",
        }

    def build(self) -> "TrajectorySource":
        """Open the folder. Raises DataError."""
        from vla.data.convert.bridge import COMMANDED
        from vla.data.convert.openx.source import RldsSource

        return RldsSource(
            self.path,
            COMMANDED,
            split=self.split,
            cameras=dict(self.cameras),
            converter="bridge",
        )


@dataclass(kw_only=True, slots=True)
class OpenXConfig(SourceConfig):
    """A data set of Open-X, LIBERO, DROID or ALOHA as RLDS, told as docs/openx.md shows.

    Attributes:
        dataset: its name in that table.
        path: the folder with features.json, dataset_info.json and the tfrecord files.
        split: as that folder names it.
        cameras: source name to our name; empty for the table's choice. On the command line
            "source.cameras={NAME: OURS}" replaces it.
        drop_idle: leave out steps without motion and with an unchanged gripper (DROID); the
            action must be six deltas and a gripper.
    """

    kind: str = "openx"
    dataset: str = "???"
    path: str = "???"
    split: str = "train"
    cameras: dict[str, str] = field(default_factory=dict)
    drop_idle: bool = False

    def build(self) -> "TrajectorySource":
        """Open the folder. Raises DataError, UnknownChoice."""
        from vla.data.convert.openx.source import RldsSource
        from vla.data.convert.openx.table import RECIPES

        return RldsSource(
            self.path,
            choose("Open-X data set", self.dataset, RECIPES),
            split=self.split,
            cameras=dict(self.cameras) or None,
            converter=self.dataset,
            drop_idle=self.drop_idle,
        )


@dataclass(kw_only=True, slots=True)
class AxisRule:
    """What the axes that match a pattern are; "" leaves a field to the source's own option.

    Attributes:
        match: shell pattern of "state.<name>" and "action.<name>", e.g. "*Hand*", "action.d*".
        unit: SI unit, or "1" for a pure number.
        low, high: hard bounds in that unit; infinite when nobody knows them.
        mode: of an action: "absolute", "relative" or "delta".
        frame: "joint", "base" or "tool".
        keep: False leaves the axis out of the store.
    """

    match: str = "???"
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    mode: str = ""
    frame: str = ""
    keep: bool = True


@dataclass(kw_only=True, slots=True)
class LerobotConfig(SourceConfig):
    """A LeRobot data set, version 2.0, 2.1 or 3.0, with or without GR00T's modality.json.

    The format names axes and says nothing else about them; unit, action_mode and frame must
    be given, unless `vla export` wrote the set (then its meta/vla.json says everything).

    Attributes:
        path: the folder with meta/, data/ and videos/.
        cameras: their feature key, or the last part of it, to our name. Empty: all of them,
            called by that last part. (On the command line: "source.cameras={top: front}".)
        image_size: [height, width]; empty keeps the source's.
        codec: the store's ("jpeg" or "zstd"); follows the job's own. With "zstd" frames stay
            exact, and an episode's raw frames must fit into memory.
        unit: of every axis, where no rule says otherwise, e.g. "rad".
        action_mode: "absolute", "relative" (to the chunk's first state) or "delta" (a step).
        frame: "joint", "base" or "tool".
        axes: exceptions; the first rule that matches an axis counts.
        rotation, gripper: conventions of the embodiment, see vla.embodiment.
    """

    kind: str = "lerobot"
    path: str = "???"
    cameras: dict[str, str] = field(default_factory=dict)
    image_size: list[int] = field(default_factory=list)
    codec: str = "${codec}"
    unit: str = ""
    action_mode: str = ""
    frame: str = ""
    axes: list[AxisRule] = field(default_factory=list)
    rotation: str = "none"
    gripper: str = "none"

    def __post_init__(self) -> None:
        if len(self.image_size) not in (0, 2) or any(side < 1 for side in self.image_size):
            raise ConfigError(
                f"source.image_size is {self.image_size}; give [height,width], or [] to keep it."
            )

    def build(self) -> "TrajectorySource":
        """Open the folder. Raises DataError, ConfigError."""
        from vla.data.convert.lerobot_source import LerobotSource

        return LerobotSource(self)
