"""Choices that make a head that thinks along with a language model. Plain data."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.checks import require_choice, require_positive
from policies.heads.config import TIME_SAMPLINGS, DenoisingConfig, HeadConfig
from policies.heads.config_language import WordsConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import ContextShape
    from policies.heads.interface import Head

FAMILIES = ("gemma", "llama")
STATES = ("token", "none")
TIMES = ("mlp", "norm")


@dataclass(kw_only=True, slots=True)
class ExpertConfig(DenoisingConfig):
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
        lanes: axes the network is built for, when public weights have more than the body (pi0,
            SmolVLA: 32); 0 is as many as the body has.
        time_sampling: "beta" trains more at the noisy end (pi0), "uniform" evenly.
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
    lanes: int = 0
    time_sampling: str = "beta"
    draws: int = 1  # each takes its own copy of the prefix's keys and values

    def __post_init__(self) -> None:
        DenoisingConfig.__post_init__(self)
        require_positive(self, "joint_every")
        require_choice(self, "family", FAMILIES)
        require_choice(self, "state", STATES)
        require_choice(self, "time", TIMES)
        require_choice(self, "time_sampling", TIME_SAMPLINGS)
        for name in ("width", "mlp", "layers", "lanes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"ExpertConfig.{name} is negative; 0 follows the backbone.")
        if self.width % 2:
            raise ConfigError(f"ExpertConfig.width is {self.width}; it must be even.")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.expert import ExpertHead, ExpertNetwork
        from policies.heads.expert_lanes import Lanes
        from policies.heads.noising import Flow

        axes = self.lanes or action_dim
        if axes < action_dim:
            raise ConfigError(
                f"ExpertConfig.lanes is {axes}, the body has {action_dim} axes; 0 follows it."
            )
        network = ExpertNetwork(self, shape=shape, action_dim=axes, horizon=horizon)
        process = Flow(steps=self.steps, time_sampling=self.time_sampling)
        head = ExpertHead(self, process=process, network=network, horizon=horizon)
        if axes == action_dim:
            return head
        return Lanes(head, lanes=axes, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class InsulatedConfig(HeadConfig):
    """An expert that acts and words that teach: pi0.5 with knowledge insulation (2505.23705).

    The language model learns from the actions as words alone, the expert from the flow; the
    expert sees the prefix, not the words.

    Attributes:
        expert: plans the chunk; must be insulated.
        words: the language model's own way of saying it, in training only.
        words_weight: of its loss, next to the expert's.
    """

    kind: str = "insulated"
    expert: ExpertConfig = field(default_factory=lambda: ExpertConfig(insulate=True))
    words: WordsConfig = field(default_factory=WordsConfig)
    words_weight: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "words_weight")
        if not self.expert.insulate:
            raise ConfigError("InsulatedConfig.expert.insulate is false; set it to true.")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.expert_insulated import InsulatedHead

        parts = (
            part.build(shape=shape, action_dim=action_dim, horizon=horizon)
            for part in (self.expert, self.words)
        )
        return InsulatedHead(*parts, words_weight=self.words_weight)
