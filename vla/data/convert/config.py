"""Which public format to convert from, and where its files lie."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.errors import ConfigError

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
        from vla.data.convert.bridge import BridgeSource

        return BridgeSource(self.path, split=self.split, cameras=dict(self.cameras))
