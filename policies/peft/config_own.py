"""Methods that the `peft` library lacks. Plain data: importing this costs nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.checks import require_positive
from policies.peft.config_library import RankConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from policies.peft.layers import DeltaLinear


@dataclass(kw_only=True, slots=True)
class NolaConfig(RankConfig):
    """LoRA whose factors are mixtures of random matrices: only the mixtures are kept.

    Koohpayegani et al. 2024, arXiv 2310.02556. Two times `bases` numbers per layer, whatever its
    width; the random matrices are made anew from `seed` and the layer's name. For keeping the
    adapters of many tasks.

    Attributes:
        alpha: scale of the change, divided by rank.
        bases: random matrices per factor.
        seed: of the random matrices.
    """

    kind: str = "nola"
    alpha: float = 16.0
    bases: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        RankConfig.__post_init__(self)
        require_positive(self, "alpha", "bases")

    def wrap(self, layer: "nn.Linear", name: str) -> "DeltaLinear":
        """See `AdapterConfig.wrap`."""
        from policies.peft.layers import NolaLinear

        return NolaLinear(layer, self, name)


@dataclass(kw_only=True, slots=True)
class SvfitConfig(RankConfig):
    """The `rank` largest singular values of each weight are trained (arXiv 2409.05926).

    Singular vectors and the other values stay. `rank` numbers per layer: take many.
    """

    kind: str = "svfit"
    rank: int = 64

    def wrap(self, layer: "nn.Linear", name: str) -> "DeltaLinear":
        """See `AdapterConfig.wrap`."""
        from policies.peft.layers import SvfitLinear

        return SvfitLinear(layer, self)


@dataclass(kw_only=True, slots=True)
class SelectiveConfig(RankConfig):
    """LoRA that keeps only the ranks a task needs (CoDyRA, arXiv 2412.01004).

    Each rank has an importance; after `dense_steps` updates each further one moves every
    importance by `threshold` towards 0, where it stays unless the data pull it back. What is
    not needed is not changed, which is what skills learned one after the other forget least by.

    Attributes:
        alpha: scale of the change, divided by rank.
        threshold: of the importances, which start at 1, per update.
        dense_steps: updates before the first shrinking.
    """

    kind: str = "selective"
    rank: int = 16
    alpha: float = 16.0
    threshold: float = 5e-4
    dense_steps: int = 500

    def __post_init__(self) -> None:
        RankConfig.__post_init__(self)
        require_positive(self, "alpha", "threshold")
        if self.dense_steps < 0:
            raise ConfigError("SelectiveConfig.dense_steps is negative.")

    def wrap(self, layer: "nn.Linear", name: str) -> "DeltaLinear":
        """See `AdapterConfig.wrap`."""
        from policies.peft.layers import SelectiveLinear

        return SelectiveLinear(layer, self)
