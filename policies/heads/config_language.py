"""Choices that make a head coupled to a language model. Plain data: importing costs nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.checks import require_choice, require_positive
from policies.heads.config import TIME_SAMPLINGS, HeadConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import ContextShape, Geometry
    from policies.heads.interface import Head

FAMILIES = ("gemma", "llama")
STATES = ("token", "none")
TIMES = ("mlp", "norm")


@dataclass(kw_only=True, slots=True)
class ExpertConfig(HeadConfig):
    """An action expert that attends to the language model's layers; trained by flow matching.

    The defaults are pi0's; pi0.5 has time="norm" and state="none" (the backbone writes it into
    the prompt); SmolVLA family="llama", joint_every=2, causal=true and state="none" (a token of
    the backbone's prefix).

    Attributes:
        width: of the expert; 0 is three quarters of the language model's.
        mlp: width of its MLPs; 0 is about 8 / 3 of `width`.
        layers: how many; must divide the language model's; 0 is as many.
        family: of its layers, one of FAMILIES; that of the language model.
        joint_every: every n-th layer, the first included, attends to the prefix and to the
            rows together; the others to the prefix alone, through their own projections.
        causal: a row sees only the rows before it, instead of all.
        state: "token" puts the state before the rows; "none" leaves it to the backbone.
        time: "mlp" mixes the time into each row; "norm" lets it scale, shift and gate.
        insulate: the language model learns nothing from this loss (knowledge insulation,
            arXiv 2505.23705).
        steps: Euler steps when sampling.
        time_sampling: "beta" trains more at the noisy end (pi0), "uniform" evenly.
        draws: independent (time, noise) draws per sample and step; they share one encoding.
    """

    kind: str = "expert"
    width: int = 0
    mlp: int = 0
    layers: int = 0
    family: str = "gemma"
    joint_every: int = 1
    causal: bool = False
    state: str = "token"
    time: str = "mlp"
    insulate: bool = False
    steps: int = 10
    time_sampling: str = "beta"
    draws: int = 1

    def __post_init__(self) -> None:
        require_positive(self, "joint_every", "steps", "draws")
        require_choice(self, "family", FAMILIES)
        require_choice(self, "state", STATES)
        require_choice(self, "time", TIMES)
        require_choice(self, "time_sampling", TIME_SAMPLINGS)
        for name in ("width", "mlp", "layers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"ExpertConfig.{name} is negative; 0 follows the backbone.")
        if self.width % 2:
            raise ConfigError(f"ExpertConfig.width is {self.width}; it must be even.")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.expert import ExpertHead

        return ExpertHead(self, shape=shape, action_dim=action_dim, horizon=horizon)


def require_language(config: HeadConfig, shape: "ContextShape") -> "Geometry":
    """The language model's sizes.

    Raises:
        ConfigError: when the backbone offers none.
    """
    if shape.language is None:
        raise ConfigError(
            f"{type(config).__name__} needs a language model, which this backbone does not offer; "
            "take policy/backbone=paligemma, smolvlm, prismatic or qwen_vl, or a head that only "
            "looks: flow, diffusion, tokens, regression."
        )
    return shape.language
