"""Which weights stay as they are, and what is trained beside them. Plain data.

Methods of the `peft` library and small ones of our own share one interface: each is no change
at all when it is made, and can be merged into the weights.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from policies.checks import require_choice, require_positive
from vla.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from policies.peft.adapters import Adapters
    from policies.peft.layers import DeltaLinear
    from policies.vla_policy import VlaPolicy

SAVES = ("full", "adapters")
INITS = ("default", "gaussian", "orthogonal", "pissa", "olora")


@dataclass(kw_only=True, slots=True)
class PeftConfig:
    """No adapters: what is trained is for the backbone and the head to say."""

    kind: str = "none"

    def attach(self, policy: "VlaPolicy") -> "Adapters | None":
        """Freeze parts of `policy` and put adapters beside their layers.

        Raises:
            ConfigError: when parts, targets or sizes do not fit the policy.
            CheckpointError: when the base cannot be read.
        """
        return None


@dataclass(kw_only=True, slots=True)
class AdapterConfig(PeftConfig):
    """What all adapters share.

    Everything outside `parts` is trained as without adapters: the head, projectors and tokens
    that are new, unless the backbone's config freezes them. In training, take about ten times
    the learning rate of full fine-tuning.

    Attributes:
        parts: frozen and adapted: "vision", "projector", "language" as far as the backbone
            names them, "backbone" or "head"; empty: all that the backbone names.
        targets: ends of the names of linear layers and convolutions, or "all-linear".
        base: one of our checkpoints, of a policy like this one without adapters, whose weights
            are the start; "": the backbone's pretrained weights.
        save: "full" checkpoints hold everything. Those of "adapters" leave the frozen weights
            out and hold their SHA-256: the base must stay where it is.
    """

    parts: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=lambda: ["all-linear"])
    base: str = ""
    save: str = "full"

    def __post_init__(self) -> None:
        require_choice(self, "save", SAVES)
        if not self.targets:
            raise ConfigError(f'{type(self).__name__}.targets is empty; take ["all-linear"].')

    def attach(self, policy: "VlaPolicy") -> "Adapters | None":
        """See `PeftConfig.attach`."""
        from policies.peft.adapters import attach

        return attach(self, policy)

    def library(self) -> tuple[str, dict[str, Any]] | None:
        """Class name and arguments of peft's config; None for methods of our own."""
        return None

    def wrap(self, layer: "nn.Linear", name: str) -> "DeltaLinear":
        """Our own adapter for the layer `name`."""
        raise ConfigError(f"policy/peft={self.kind} is a method of the peft library.")


@dataclass(kw_only=True, slots=True)
class LoraConfig(AdapterConfig):
    """W + (alpha / rank) B A (Hu et al. 2021, arXiv 2106.09685); OpenVLA: rank 32, alpha 16.

    Attributes:
        rank: columns of B, rows of A.
        alpha: scale of the change.
        dropout: on the adapters' inputs.
        init: "default" (uniform A, B = 0), "gaussian" (A; OpenVLA), "orthogonal"; "pissa"
            (arXiv 2404.02948) and "olora" (arXiv 2406.01775) move principal parts of the
            weights into the adapters, so the frozen rest is not the pretrained weight.
        stabilised: divide by sqrt(rank) instead of rank (rsLoRA, arXiv 2312.03732).
    """

    kind: str = "lora"
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    init: str = "default"
    stabilised: bool = False

    def __post_init__(self) -> None:
        AdapterConfig.__post_init__(self)
        require_positive(self, "rank", "alpha")
        require_choice(self, "init", INITS)
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"{type(self).__name__}.dropout {self.dropout} is not in [0, 1).")
        if self.init in ("pissa", "olora") and self.save == "adapters":
            raise ConfigError(
                f"init={self.init!r} changes the frozen weights, so they cannot be left out; "
                "take save=full."
            )
        if self.init == "orthogonal" and self.rank % 2:
            raise ConfigError(f"init='orthogonal' needs an even rank, not {self.rank}.")

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "LoraConfig", {
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "init_lora_weights": True if self.init == "default" else self.init,
            "use_rslora": self.stabilised,
        }


@dataclass(kw_only=True, slots=True)
class DoraConfig(LoraConfig):
    """LoRA on the direction of each weight, its length trained apart (arXiv 2402.09353)."""

    kind: str = "dora"

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        name, options = LoraConfig.library(self)
        return name, options | {"use_dora": True}


@dataclass(kw_only=True, slots=True)
class AdaloraConfig(AdapterConfig):
    """LoRA as P E Q whose ranks go where they matter (Zhang et al. 2023, arXiv 2303.10512).

    Attributes:
        rank: mean rank per layer at the end.
        first_rank: rank of every layer at the start.
        alpha: scale of the change.
        steps: updates of the run; must be those of the training.
        warm_up, settle: updates before the first rank is cut, and after the last.
        every: updates between cuts.
        orthogonality: weight of the penalty that keeps P and Q orthogonal.
    """

    kind: str = "adalora"
    rank: int = 8
    first_rank: int = 12
    alpha: float = 16.0
    steps: int = 10_000
    warm_up: int = 500
    settle: int = 2_000
    every: int = 10
    orthogonality: float = 0.5

    def __post_init__(self) -> None:
        AdapterConfig.__post_init__(self)
        require_positive(self, "rank", "alpha", "steps", "every")
        if self.first_rank < self.rank:
            raise ConfigError(f"first_rank {self.first_rank} is below rank {self.rank}.")
        if not 0 <= self.warm_up < self.steps - self.settle:
            raise ConfigError(
                f"AdaloraConfig: warm_up {self.warm_up} and settle {self.settle} leave nothing "
                f"of the {self.steps} steps to cut ranks in."
            )

    def library(self) -> tuple[str, dict[str, Any]]:
        """See `AdapterConfig.library`."""
        return "AdaLoraConfig", {
            "target_r": self.rank,
            "init_r": self.first_rank,
            "lora_alpha": self.alpha,
            "tinit": self.warm_up,
            "tfinal": self.settle,
            "deltaT": self.every,
            "orth_reg_weight": self.orthogonality,
            "total_step": self.steps,
        }
