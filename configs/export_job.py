"""The job of `vla export`."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from policies.quantize.config import RecipeConfig
from vla.errors import ConfigError, choose


@dataclass(kw_only=True, slots=True)
class ExportJob:
    """Export a store as a LeRobot v3.0 data set, or a checkpoint as a LeRobot policy.

    Attributes:
        store: folder of the store.
        checkpoint: instead: a run's folder, one checkpoint, or the folder of a public policy.
        format: of an exported checkpoint: "lerobot" (pi0, pi05, smolvla), or "vla", our own.
        key: data set whose statistics a public policy shall use, see policy=public.
        body: JSON file of a public policy's embodiment, see policy=public.
        cameras: a public policy's image key by camera name, see policy=public.
        rows: that an OpenVLA-OFT policy plans at once, see policy=public.
        tokenizer: folder or hub name, where it differs from what a public policy names.
        dtype: of a public policy's pretrained weights in memory.
        recipe: store a public policy in few bits as it is read, for a machine on which it does
            not fit otherwise; nobody has judged such a policy (`vla quantize` does), and its
            checkpoint says so.
        episodes: "train", "held_out" or "all".
        held_out: fraction of the episodes that "train" leaves out, as data.held_out.
        video: MP4 files; false for PNG in tables: lossless, large, slow to read.
        codec: of the videos: "libsvtav1" (LeRobot's default) or "h264".
        output: folder of the new data set or checkpoint.
    """

    store: str = ""
    checkpoint: str = ""
    format: str = "lerobot"
    key: str = ""
    body: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    tokenizer: str = ""
    dtype: str = "float32"
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    episodes: str = "all"
    held_out: float = 0.1
    video: bool = True
    codec: str = "libsvtav1"
    output: str = MISSING

    def __post_init__(self) -> None:
        choose("format:", self.format, dict.fromkeys(("lerobot", "vla")))
        if bool(self.store) == bool(self.checkpoint):
            raise ConfigError("Give store=... to export data, or checkpoint=... for a policy.")
        if self.recipe.kind != "none" and self.format != "vla":
            raise ConfigError(f"recipe={self.recipe.kind} needs format=vla; LeRobot has no such.")
