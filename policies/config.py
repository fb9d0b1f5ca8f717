"""Every choice that makes a policy. Plain data: importing this costs nothing.

A config builds its owner; heavy imports happen in `build`.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.embodiment import Embodiment
from vla.errors import ConfigError, UnknownChoice

if TYPE_CHECKING:
    from policies.backbones.interface import Backbone
    from policies.heads.interface import Head
    from vla.contract import Policy
    from vla.data.stats import Statistics

NORMALIZATIONS = ("quantile", "min_max", "mean_std")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
TIME_SAMPLINGS = ("uniform", "beta")
DTYPES = ("float32", "bfloat16", "float16")
FREEZES = ("all", "vision", "none")
POOLS = ("mean", "last")


def _require_positive(owner: object, *names: str) -> None:
    for name in names:
        if not getattr(owner, name) > 0:
            kind = type(owner).__name__
            raise ConfigError(f"{kind}.{name} is {getattr(owner, name)}; it must be above 0.")


def _require_choice(owner: object, name: str, choices: tuple[str, ...]) -> None:
    if getattr(owner, name) not in choices:
        raise UnknownChoice(f"{type(owner).__name__}.{name}", getattr(owner, name), choices)


def _require_heads(owner: object) -> None:
    width, heads = owner.width, owner.attention_heads  # type: ignore[attr-defined]
    if width % (2 * heads):
        raise ConfigError(
            f"{type(owner).__name__}: width {width} is not a multiple of twice "
            f"attention_heads ({heads}); e.g. width={2 * heads * max(1, width // (2 * heads))}."
        )


@dataclass(kw_only=True, slots=True)
class BackboneConfig:
    """Base of the backbones' configs."""

    kind: str = ""

    def build(self, embodiment: Embodiment, *, history: int) -> "Backbone":
        """Make the backbone for the cameras and state axes of `embodiment` and T == `history`."""
        raise ConfigError("No backbone is chosen; take TinyConfig or AutoBackboneConfig.")


@dataclass(kw_only=True, slots=True)
class TinyConfig(BackboneConfig):
    """A vision-language model of less than 1 M parameters, trained from scratch on a CPU.

    Attributes:
        width: of the tokens.
        layers, attention_heads: of the transformer that mixes the tokens.
        channels, blocks: of the convolutions.
        grid: feature cells along the shorter side of an image.
        keypoints: spatial-softmax keypoints per camera.
        labels: names of the image points (u, v) in [-1, 1] to ground the words on, as the
            data name them; points without data are learned from the actions alone.
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
        _require_positive(self, "width", "attention_heads", "channels", "blocks", "grid")
        _require_positive(self, "keypoints", "words", "buckets")
        _require_heads(self)

    def build(self, embodiment: Embodiment, *, history: int) -> "Backbone":
        """Make the untrained network."""
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
        lora_rank: of low-rank adapters on the frozen weights; 0: no adapters.
        lora_alpha: scale of the adapters; they are multiplied by lora_alpha / lora_rank.
        lora_targets: which linear layers get one, by the end of their name; layers of the
            vision encoder with such a name get one, too.
    """

    kind: str = "auto"
    name: str = ""
    revision: str = ""
    dtype: str = "float32"
    layers: int = 0
    freeze: str = "all"
    pool: str = "mean"
    labels: list[str] = field(default_factory=list)
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"]
    )

    def __post_init__(self) -> None:
        _require_choice(self, "dtype", DTYPES)
        _require_choice(self, "freeze", FREEZES)
        _require_choice(self, "pool", POOLS)
        if self.lora_rank < 0:
            raise ConfigError("AutoBackboneConfig.lora_rank is negative.")
        if self.lora_rank and self.freeze != "all":
            raise ConfigError(
                f"AutoBackboneConfig: lora_rank {self.lora_rank} adapts frozen weights, but "
                f"freeze is {self.freeze!r}; take freeze='all' or lora_rank=0."
            )

    def build(self, embodiment: Embodiment, *, history: int) -> "Backbone":
        """Load the pretrained model. Raises CheckpointError when it cannot be read."""
        from policies.backbones.auto import AutoBackbone

        return AutoBackbone(self, embodiment, history=history)


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """Base of the heads' configs."""

    kind: str = ""

    def build(self, *, context_dim: int, action_dim: int, horizon: int) -> "Head":
        """Make the head for tokens of width `context_dim` and chunks (`horizon`, `action_dim`)."""
        raise ConfigError(
            "No head is chosen; take FlowConfig, DiffusionConfig, TokensConfig or RegressionConfig."
        )


@dataclass(kw_only=True, slots=True)
class RegressionConfig(HeadConfig):
    """The whole chunk at once, trained by L1 (the conditional median).

    Attributes:
        width, layers: of the residual MLP.
    """

    kind: str = "regression"
    width: int = 256
    layers: int = 2

    def __post_init__(self) -> None:
        _require_positive(self, "width")

    def build(self, *, context_dim: int, action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.regression import RegressionHead

        return RegressionHead(self, context_dim=context_dim, action_dim=action_dim, horizon=horizon)


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
        _require_positive(self, "width", "layers", "attention_heads", "steps", "draws")
        _require_choice(self, "time_sampling", TIME_SAMPLINGS)
        _require_heads(self)

    def build(self, *, context_dim: int, action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.flow import FlowHead

        return FlowHead(self, context_dim=context_dim, action_dim=action_dim, horizon=horizon)


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
        _require_positive(self, "width", "layers", "attention_heads", "train_steps", "steps")
        _require_positive(self, "draws")
        _require_choice(self, "prediction", PREDICTIONS)
        _require_heads(self)
        if self.steps > self.train_steps:
            raise ConfigError(
                f"DiffusionConfig.steps {self.steps} is above train_steps {self.train_steps}."
            )

    def build(self, *, context_dim: int, action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.diffusion import DiffusionHead

        return DiffusionHead(self, context_dim=context_dim, action_dim=action_dim, horizon=horizon)


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
        _require_positive(self, "width", "layers", "attention_heads", "bins", "bound")
        _require_heads(self)

    def build(self, *, context_dim: int, action_dim: int, horizon: int) -> "Head":
        """Make the untrained head."""
        from policies.heads.tokens import TokensHead

        return TokensHead(self, context_dim=context_dim, action_dim=action_dim, horizon=horizon)


@dataclass(kw_only=True, slots=True)
class PolicyConfig:
    """Base of the policies' configs."""

    kind: str = ""

    def build(self, embodiment: Embodiment, statistics: "Statistics | None") -> "Policy":
        """Make the policy for `embodiment`.

        Args:
            embodiment: whose cameras, state and actions the policy is for.
            statistics: of the training data; None only when weights, which hold their own,
                are about to be loaded.
        """
        raise ConfigError("No policy is chosen; take VlaPolicyConfig or LerobotPolicyConfig.")


@dataclass(kw_only=True, slots=True)
class VlaPolicyConfig(PolicyConfig):
    """A backbone and a head, trained together; both must be chosen.

    Attributes:
        history: observation steps T it sees.
        horizon: action rows H it plans.
        normalization: which statistics bring state and actions to about [-1, 1].
        bounded_axes: axes to scale by the embodiment's bounds instead, e.g. because the
            data never move them. Axes of unit "1" between 0 and 1 always are.
        grounding_weight: of the loss on the labels that both backbone and batch have.
        state_noise: standard deviation of noise on the normalised state while training.
    """

    kind: str = "vla"
    history: int = 1
    horizon: int = 16
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    normalization: str = "quantile"
    bounded_axes: list[str] = field(default_factory=list)
    grounding_weight: float = 1.0
    state_noise: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(self, "history", "horizon")
        _require_choice(self, "normalization", NORMALIZATIONS)
        for name in ("grounding_weight", "state_noise"):
            if getattr(self, name) < 0:
                raise ConfigError(f"VlaPolicyConfig.{name} is negative.")

    def build(self, embodiment: Embodiment, statistics: "Statistics | None") -> "Policy":
        """Make the untrained policy. Raises StatisticsError when the statistics do not fit."""
        from policies.vla_policy import VlaPolicy

        return VlaPolicy(self, embodiment, statistics)


@dataclass(kw_only=True, slots=True)
class LerobotPolicyConfig(PolicyConfig):
    """A policy trained with LeRobot, from its checkpoint folder.

    Attributes:
        path: the folder that holds config.json, model.safetensors and the processors.
        cameras: checkpoint's image key by camera name, e.g. front: observation.images.top;
            a camera left out has the key observation.images.<its name>.
        state: the checkpoint's key for the state.
        rows: how many rows of the predicted chunk to keep; 0 keeps all.
        device: torch device.
    """

    kind: str = "lerobot"
    path: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    state: str = "observation.state"
    rows: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.rows < 0:
            raise ConfigError(f"LerobotPolicyConfig.rows is {self.rows}; 0 keeps all.")

    def build(self, embodiment: Embodiment, statistics: "Statistics | None" = None) -> "Policy":
        """Load the checkpoint; its own statistics are used, `statistics` is not needed."""
        from policies.lerobot_policy import LerobotPolicy

        return LerobotPolicy(self, embodiment)
