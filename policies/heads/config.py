"""Choices that make a head. Plain data: importing this costs nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.checks import require_choice, require_heads, require_positive
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import ContextShape
    from policies.heads.interface import Head

PREDICTIONS = ("epsilon", "sample", "v_prediction")
TIME_SAMPLINGS = ("uniform", "beta")


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """Base of the heads' configs."""

    kind: str = ""

    def count_readouts(self, *, action_dim: int, horizon: int) -> int:
        """How many readout tokens R the backbone shall append for this head."""
        return 0

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the head for contexts of `shape` and chunks (`horizon`, `action_dim`)."""
        raise ConfigError(
            "No head is chosen; take FlowConfig, DiffusionConfig, TokensConfig or RegressionConfig."
        )


@dataclass(kw_only=True, slots=True)
class RegressionConfig(HeadConfig):
    """The whole chunk at once, trained by L1 that is smooth near zero.

    Attributes:
        width, layers: of the residual MLP.
        smooth: normalised errors below this count by their square; 0 is plain L1.
    """

    kind: str = "regression"
    width: int = 256
    layers: int = 2
    smooth: float = 0.5

    def __post_init__(self) -> None:
        require_positive(self, "width")
        if self.smooth < 0:
            raise ConfigError(f"RegressionConfig.smooth is {self.smooth}; it must be 0 or more.")

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.regression import RegressionHead

        return RegressionHead(self, shape=shape, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class FlowConfig(HeadConfig):
    """Flow matching: a velocity field from noise to actions, integrated by Euler steps.

    Attributes:
        width, layers, attention_heads: of the denoising transformer.
        steps: Euler steps when sampling.
        time_sampling: "beta" trains more at the noisy end (pi0), "uniform" evenly.
        draws: independent (time, noise) draws per sample and step; they share one encoding.
    """

    kind: str = "flow"
    width: int = 128
    layers: int = 3
    attention_heads: int = 4
    steps: int = 10
    time_sampling: str = "beta"
    draws: int = 4

    def __post_init__(self) -> None:
        require_positive(self, "width", "layers", "attention_heads", "steps", "draws")
        require_choice(self, "time_sampling", TIME_SAMPLINGS)
        require_heads(self)

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.flow import FlowHead

        return FlowHead(self, shape=shape, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class DiffusionConfig(HeadConfig):
    """DDPM training, DDIM sampling (eta = 0) on a squared-cosine schedule.

    Attributes:
        width, layers, attention_heads: of the denoising transformer.
        train_steps: length of the noise schedule.
        steps: DDIM steps when sampling.
        prediction: what the network predicts, one of PREDICTIONS.
        clip: bound on the predicted clean chunk at every DDIM step, in normalised units;
            0 leaves it alone.
        draws: independent (time, noise) draws per sample and step; they share one encoding.
    """

    kind: str = "diffusion"
    width: int = 128
    layers: int = 3
    attention_heads: int = 4
    train_steps: int = 100
    steps: int = 10
    prediction: str = "epsilon"
    clip: float = 1.5
    draws: int = 4

    def __post_init__(self) -> None:
        require_positive(self, "width", "layers", "attention_heads", "train_steps", "steps")
        require_positive(self, "draws")
        require_choice(self, "prediction", PREDICTIONS)
        require_heads(self)
        if self.clip < 0:
            raise ConfigError("DiffusionConfig.clip is negative; 0 leaves the chunk alone.")
        if self.steps > self.train_steps:
            raise ConfigError(
                f"DiffusionConfig.steps {self.steps} is above train_steps {self.train_steps}."
            )

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.diffusion import DiffusionHead

        return DiffusionHead(self, shape=shape, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class TokensConfig(HeadConfig):
    """Actions as words: one of `bins` symbols per scalar, written one after the other.

    Attributes:
        width, layers, attention_heads: of the decoder.
        bins: symbols per scalar.
        bound: bins divide [-bound, bound] in normalised units; values beyond saturate.
    """

    kind: str = "tokens"
    width: int = 128
    layers: int = 2
    attention_heads: int = 4
    bins: int = 256
    bound: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "width", "layers", "attention_heads", "bins", "bound")
        require_heads(self)

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.tokens import TokensHead

        return TokensHead(self, shape=shape, action_dim=action_dim, horizon=horizon)
