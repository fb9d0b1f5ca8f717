"""Choices that make a head. Plain data: importing this costs nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.checks import require_choice, require_heads, require_positive
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.backbones.interface import ContextShape
    from policies.heads.interface import Head
    from policies.heads.noising import Diffusion

PREDICTIONS = ("epsilon", "sample", "v_prediction")
SPACINGS = ("trailing", "leading")
SOFT_MASKS = ("zeros", "ones", "linear", "exp")
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
            "No head is chosen; take e.g. policy/head=flow (`vla list` shows them all)."
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
class DenoisingConfig(HeadConfig):
    """Base of the heads that turn noise into chunks step by step.

    Attributes:
        steps: when sampling.
        draws: independent (time, noise) draws per sample and step; they share one encoding.
        delay: in training the first 0 to `delay` rows are given clean (training-time
            real-time chunking); then committed rows are given so, too. 0: they are held at
            the noise of each step instead.
        soft_mask: how the pull of tentative rows fades with their distance, one of
            SOFT_MASKS.
        pull: most that it may count by; 0 ignores tentative rows. Being pulled takes a pass
            back through the network in each step.
    """

    steps: int = 10
    draws: int = 4
    delay: int = 0
    soft_mask: str = "exp"
    pull: float = 5.0

    def __post_init__(self) -> None:
        require_positive(self, "steps", "draws")
        require_choice(self, "soft_mask", SOFT_MASKS)
        for name in ("delay", "pull"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{type(self).__name__}.{name} is negative; 0 does without.")


@dataclass(kw_only=True, slots=True)
class FlowConfig(DenoisingConfig):
    """Flow matching: a velocity field from noise to actions, integrated by Euler steps.

    Attributes:
        width, layers, attention_heads: of the denoising transformer.
        time_sampling: "beta" trains more at the noisy end (pi0), "uniform" evenly.
    """

    kind: str = "flow"
    width: int = 128
    layers: int = 3
    attention_heads: int = 4
    time_sampling: str = "beta"

    def __post_init__(self) -> None:
        DenoisingConfig.__post_init__(self)
        require_positive(self, "width", "layers", "attention_heads")
        require_choice(self, "time_sampling", TIME_SAMPLINGS)
        require_heads(self)

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.denoiser import Denoiser
        from policies.heads.denoising import DenoisingHead
        from policies.heads.noising import Flow

        network = Denoiser(self, context_dim=shape.dim, action_dim=action_dim, horizon=horizon)
        process = Flow(steps=self.steps, time_sampling=self.time_sampling)
        return DenoisingHead(self, process=process, network=network, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class DdpmConfig(DenoisingConfig):
    """Base of the heads with DDPM training and DDIM sampling (eta = 0), squared-cosine schedule.

    Attributes:
        train_steps: length of the noise schedule; `steps` of them are taken when sampling.
        prediction: what the network predicts, one of PREDICTIONS.
        clip: bound on the predicted clean chunk at every DDIM step, in normalised units;
            0 leaves it alone.
        spacing: which of the levels are taken: "trailing" begins at the noisiest, "leading"
            one step after it, as CogACT's weights are sampled.
    """

    train_steps: int = 100
    prediction: str = "epsilon"
    clip: float = 1.5
    spacing: str = "trailing"

    def __post_init__(self) -> None:
        DenoisingConfig.__post_init__(self)
        require_positive(self, "train_steps")
        require_choice(self, "prediction", PREDICTIONS)
        require_choice(self, "spacing", SPACINGS)
        if self.clip < 0:
            raise ConfigError(f"{type(self).__name__}.clip is negative; 0 leaves the chunk alone.")
        if self.steps > self.train_steps:
            raise ConfigError(
                f"{type(self).__name__}.steps {self.steps} is above train_steps {self.train_steps}."
            )

    def make_process(self) -> "Diffusion":
        """The path from noise to chunks."""
        from policies.heads.noising import Diffusion

        return Diffusion(
            train_steps=self.train_steps,
            steps=self.steps,
            prediction=self.prediction,
            spacing=self.spacing,
        )


@dataclass(kw_only=True, slots=True)
class DiffusionConfig(DdpmConfig):
    """Diffusion with the transformer of `flow`, which looks at all of the context.

    Attributes:
        width, layers, attention_heads: of the denoising transformer.
    """

    kind: str = "diffusion"
    width: int = 128
    layers: int = 3
    attention_heads: int = 4

    def __post_init__(self) -> None:
        DdpmConfig.__post_init__(self)
        require_positive(self, "width", "layers", "attention_heads")
        require_heads(self)

    def build(self, *, shape: "ContextShape", action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.denoiser import Denoiser
        from policies.heads.denoising import DenoisingHead

        network = Denoiser(self, context_dim=shape.dim, action_dim=action_dim, horizon=horizon)
        process = self.make_process()
        return DenoisingHead(
            self, process=process, network=network, horizon=horizon, clip=self.clip
        )


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
