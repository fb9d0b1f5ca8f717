"""More methods of the `peft` library. Plain data: importing this costs nothing."""

from dataclasses import dataclass
from typing import Any

from policies.checks import require_positive
from policies.peft.config import AdapterConfig
from vla.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class RankConfig(AdapterConfig):
    """Base of the methods with nothing but a rank; for linear layers.

    Attributes:
        rank: see each method.
    """

    rank: int = 8

    def __post_init__(self) -> None:
        AdapterConfig.__post_init__(self)
        require_positive(self, "rank")


@dataclass(kw_only=True, slots=True)
class VeraConfig(RankConfig):
    """One pair of frozen random matrices for all layers, two trained vectors for each.

    Kopiczko et al. 2024, arXiv 2310.11454. `rank` costs hardly any trained numbers: take 256.
    """

    kind: str = "vera"
    rank: int = 256

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "VeraConfig", {"r": self.rank}


@dataclass(kw_only=True, slots=True)
class RandloraConfig(RankConfig):
    """A full-rank change from frozen random bases, scaled by trained diagonals.

    Albert et al. 2025, arXiv 2502.00987. A smaller `rank` means more trained numbers.

    Attributes:
        alpha: scale of the change; the authors take 20 * rank (0 does, too).
    """

    kind: str = "randlora"
    rank: int = 32
    alpha: int = 0

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "RandLoraConfig", {
            "r": self.rank,
            "randlora_alpha": self.alpha or 20 * self.rank,
        }


@dataclass(kw_only=True, slots=True)
class OftConfig(AdapterConfig):
    """Weights turned by block-diagonal rotations, lengths and angles kept (arXiv 2306.07280).

    Attributes:
        block: side of the blocks; the width of each layer's input must be a multiple.
        exact: rotations by the exact Cayley map, not by a series of five terms.
    """

    kind: str = "oft"
    block: int = 32
    exact: bool = False

    def __post_init__(self) -> None:
        AdapterConfig.__post_init__(self)
        require_positive(self, "block")

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "OFTConfig", {
            "oft_block_size": self.block,
            "use_cayley_neumann": not self.exact,
        }


@dataclass(kw_only=True, slots=True)
class HraConfig(RankConfig):
    """Weights turned by `rank` (even) Householder reflections (arXiv 2405.17484)."""

    kind: str = "hra"

    def __post_init__(self) -> None:
        RankConfig.__post_init__(self)
        if self.rank % 2:  # pairs of equal reflections are what makes the start no change
            raise ConfigError(f"HraConfig.rank must be even, not {self.rank}.")

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "HRAConfig", {"r": self.rank}


@dataclass(kw_only=True, slots=True)
class LohaConfig(RankConfig):
    """The elementwise product of two low-rank matrices (FedPara, arXiv 2108.06098).

    Attributes:
        alpha: scale of the change, divided by rank.
    """

    kind: str = "loha"
    alpha: int = 8

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "LoHaConfig", {"r": self.rank, "alpha": self.alpha}


@dataclass(kw_only=True, slots=True)
class LokrConfig(RankConfig):
    """A Kronecker product, one factor of low rank (KronA, arXiv 2212.10650; LyCORIS).

    Attributes:
        alpha: scale of the change, divided by rank.
    """

    kind: str = "lokr"
    alpha: int = 8

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "LoKrConfig", {"r": self.rank, "alpha": self.alpha}


@dataclass(kw_only=True, slots=True)
class MissConfig(RankConfig):
    """One trained matrix shared by groups of the input's columns (MiSS, arXiv 2409.15371)."""

    kind: str = "miss"

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "MissConfig", {"r": self.rank}


@dataclass(kw_only=True, slots=True)
class DeloraConfig(RankConfig):
    """LoRA with a trained bound on how far the weights may move (arXiv 2503.18225).

    Attributes:
        bound: at the start, relative to the weights' norm.
    """

    kind: str = "delora"
    bound: int = 15

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "DeloraConfig", {"r": self.rank, "delora_lambda": self.bound}
