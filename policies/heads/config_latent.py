"""Choices of the heads that learn a code of whole chunks along with the policy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.checks import require_heads, require_positive
from policies.heads.config import HeadConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import ContextShape
    from policies.heads.interface import Head


@dataclass(kw_only=True, slots=True)
class CvaeConfig(HeadConfig):
    """ACT: the chunk at once by L1; what the context leaves open goes through a latent.

    Attributes:
        width, layers, attention_heads: of the decoder, and of the encoder that training needs.
        latent: numbers in the latent; 0 when sampling.
        kl_weight: of the latent's divergence from a standard normal one; the larger, the less
            of the chunk can be told through it.
    """

    kind: str = "cvae"
    width: int = 128
    layers: int = 2
    attention_heads: int = 4
    latent: int = 32
    kl_weight: float = 10.0

    def __post_init__(self) -> None:
        require_positive(self, "width", "layers", "attention_heads", "latent")
        require_heads(self)
        if self.kl_weight < 0:
            raise ConfigError(f"CvaeConfig.kl_weight is {self.kl_weight}; it must be 0 or more.")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.cvae import CvaeHead

        return CvaeHead(self, shape=shape, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class VqConfig(HeadConfig):
    """VQ-BeT: which of a learned set of chunks, and how far from it.

    Attributes:
        width, layers, attention_heads: of the decoder that chooses.
        latent: width of the codes.
        levels: of the residual quantizer; each has a codebook of its own.
        codes: per codebook.
        offset_weight: of the L1 error after the offset, beside choosing the codes.
    """

    kind: str = "vq"
    width: int = 128
    layers: int = 2
    attention_heads: int = 4
    latent: int = 64
    levels: int = 2
    codes: int = 16
    offset_weight: float = 10.0

    def __post_init__(self) -> None:
        require_positive(self, "width", "layers", "attention_heads", "latent", "levels", "codes")
        require_heads(self)
        if self.offset_weight < 0:
            raise ConfigError("VqConfig.offset_weight is negative.")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.vq import VqHead

        return VqHead(self, shape=shape, action_dim=action_dim, horizon=horizon)
