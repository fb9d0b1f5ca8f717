"""Which public format to convert from, and where its files lie."""

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
        cameras: source name to our name. Leave one out to drop it: many episodes of the full
            data lack all but image_0 and hold black pictures instead.
    """

    kind: str = "bridge"
    path: str = "???"
    split: str = "train"
    cameras: dict[str, str] = field(
        default_factory=lambda: {
            "image_0": "front",
            "image_1": "side_1",
            "image_2": "side_2",
            "image_3": "wrist",
        }
    )

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ConfigError("source.cameras is empty; keep at least image_0.")

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
            +source.cameras.NAME=OURS for each that is wanted.
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
