"""Choices that make a backbone. Plain data: importing this costs nothing."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.checks import require_choice, require_heads, require_positive
from vla.embodiment import Embodiment
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import Backbone

DTYPES = ("float32", "bfloat16", "float16")
FREEZES = ("all", "vision", "none")
POOLS = ("mean", "last")


@dataclass(kw_only=True, slots=True)
class BackboneConfig:
    """Base of the backbones' configs."""

    kind: str = ""

    def build(self, embodiment: Embodiment, *, history: int, readouts: int = 0) -> "Backbone":
        """Make the backbone for the cameras and state axes of `embodiment` and T == `history`.

        Raises:
            ConfigError: when it cannot offer the `readouts` tokens that the head asks for.
        """
        raise ConfigError("No backbone is chosen; `vla list` shows them.")

    def _refuse_readouts(self, readouts: int) -> None:
        if readouts:
            raise ConfigError(
                f"The head asks for {readouts} readout tokens, which policy/backbone={self.kind} "
                "does not have; take a backbone with a language model (`vla list`)."
            )


@dataclass(kw_only=True, slots=True)
class TinyConfig(BackboneConfig):
    """A vision-language model of about 1 M parameters, trained from scratch on a CPU.

    Attributes:
        width: of the tokens.
        layers, attention_heads: of the transformer that mixes the tokens.
        channels, blocks: of the convolutions.
        grid: feature cells along the shorter side of the grounding camera's image; half as
            many for the other cameras.
        keypoints: spatial-softmax keypoints per camera.
        labels: names of the image points (u, v) in [-1, 1] to ground the words on, as the
            data name them, each with "NAME_offset", where it is from the tool (x, y, z); what
            the data lack is learned from the actions alone.
        grounding_camera: the camera these points are in; "": "front" if there is one, else
            the first.
        words: longest instruction; later words are cut.
        buckets: rows of each of the two hashed word tables.
    """

    kind: str = "tiny"
    width: int = 128
    layers: int = 2
    attention_heads: int = 4
    channels: int = 32
    blocks: int = 4
    grid: int = 32
    keypoints: int = 32
    labels: list[str] = field(default_factory=lambda: ["target", "goal"])
    grounding_camera: str = ""
    words: int = 24
    buckets: int = 1024

    def __post_init__(self) -> None:
        require_positive(self, "width", "attention_heads", "channels", "blocks", "grid")
        require_positive(self, "keypoints", "words", "buckets")
        require_heads(self)

    def build(self, embodiment: Embodiment, *, history: int, readouts: int = 0) -> "Backbone":
        """Make the untrained network."""
        self._refuse_readouts(readouts)
        from policies.backbones.tiny import TinyBackbone

        return TinyBackbone(self, embodiment, history=history)


@dataclass(kw_only=True, slots=True)
class AutoBackboneConfig(BackboneConfig):
    """Any image-text model that `transformers` can load.

    Attributes:
        name: model name on the Hugging Face hub, or a folder.
        revision: commit or tag; "" takes the default branch.
        dtype: of the pretrained weights.
        layers: how many of the language model's layers to keep; 0 keeps all.
        freeze: which pretrained weights stay as they are: "all", "vision" or "none".
        pool: the summary vector is the "mean" of the hidden states, or the "last" one.
        labels: names of the image points (u, v) in [-1, 1] to predict.
    """

    kind: str = "auto"
    name: str = ""
    revision: str = ""
    dtype: str = "float32"
    layers: int = 0
    freeze: str = "all"
    pool: str = "mean"
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_choice(self, "dtype", DTYPES)
        require_choice(self, "freeze", FREEZES)
        require_choice(self, "pool", POOLS)

    def build(self, embodiment: Embodiment, *, history: int, readouts: int = 0) -> "Backbone":
        """Load the pretrained model. Raises CheckpointError when it cannot be read."""
        from policies.backbones.auto import AutoBackbone

        return AutoBackbone(self, embodiment, history=history, readouts=readouts)
