"""The choice of a policy of the vla stack, as LeRobot's commands take it.

lerobot-train --policy.type=vla --policy.backbone='{kind: tiny}' --policy.head='{kind: flow}'
lerobot-eval --policy.type=vla --policy.checkpoint=runs/pick ...
"""

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.optim.optimizers import AdamWConfig
from lerobot.optim.schedulers import CosineDecayWithWarmupSchedulerConfig

from configs.restoring import restore_config
from policies.config import VlaPolicyConfig
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."


def _identity() -> dict[str, NormalizationMode]:
    """LeRobot's processors pass everything through: our normaliser is in the weights."""
    return dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)


@PreTrainedConfig.register_subclass("vla")
@dataclass
class VlaConfig(PreTrainedConfig):
    """A backbone and a head, trained by LeRobot's loop.

    Attributes:
        backbone, head: kind and keys, as in `vla train policy.backbone.KEY=...`.
        horizon: rows of a plan.
        n_action_steps: how many of them are carried out before the next plan; 0 for all.
        normalization: see `VlaPolicyConfig`.
        options: other keys of `VlaPolicyConfig`.
        checkpoint: instead of all this, a trained checkpoint of the vla stack.
        body: JSON of the embodiment; made of the data set's names and sizes when empty, with
            units unknown ("1") and no bounds, because LeRobot's data do not tell them.
        hz: of that body; plans here are counted in ticks, so nothing depends on it.
        optimizer_lr, optimizer_weight_decay, scheduler_warmup_steps, scheduler_decay_steps:
            LeRobot's training preset.
    """

    backbone: dict[str, Any] = field(default_factory=lambda: {"kind": "tiny"})
    head: dict[str, Any] = field(default_factory=lambda: {"kind": "flow"})
    horizon: int = 16
    n_action_steps: int = 0
    normalization: str = "quantile"
    options: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    hz: float = 10.0
    normalization_mapping: dict[str, NormalizationMode] = field(default_factory=_identity)
    optimizer_lr: float = 3e-4
    optimizer_weight_decay: float = 1e-4
    scheduler_warmup_steps: int = 200
    scheduler_decay_steps: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_obs_steps != 1:
            raise ConfigError("policy.n_obs_steps must be 1: LeRobot's rollouts keep no history.")
        if not 0 <= self.n_action_steps <= self.horizon:
            raise ConfigError(
                f"policy.n_action_steps is {self.n_action_steps}; take 0 (all) to {self.horizon}."
            )

    def choose(self) -> VlaPolicyConfig:
        """The policy's own config. Raises ConfigError for unknown kinds and keys."""
        told = {"kind": "vla", "horizon": self.horizon, "normalization": self.normalization}
        return restore_config(
            "policy",
            {**told, "backbone": self.backbone, "head": self.head, **self.options},
        )

    def describe_body(self, names: dict[str, list[str]]) -> Embodiment:
        """The embodiment: the one in `body`, else what features and `names` tell.

        Args:
            names: axis names by LeRobot's key, where the data set has some.
        """
        if self.body:
            return Embodiment.from_json(self.body)
        self.validate_features()
        sizes = {
            STATE: self.input_features[STATE].shape[0],
            ACTION: self.output_features[ACTION].shape[0],
        }
        return Embodiment(
            name="lerobot",
            state=_name_axes("state", sizes[STATE], names.get(STATE)),
            action=_name_axes("action", sizes[ACTION], names.get(ACTION)),
            cameras={
                name_camera(key): Camera(height=feature.shape[1], width=feature.shape[2])
                for key, feature in self.image_features.items()
            },
            hz=self.hz,
        )

    def validate_features(self) -> None:
        """Raise ConfigError unless there are a state, an action and a picture."""
        inputs, outputs = self.input_features or {}, self.output_features or {}
        visual = [f for f in inputs.values() if f.type is FeatureType.VISUAL]
        if STATE not in inputs or ACTION not in outputs or not visual:
            raise ConfigError(
                f"A vla policy needs {STATE}, {ACTION} and a picture; the data have "
                f"{sorted([*inputs, *outputs])}."
            )
        _require_colour(visual)

    def get_optimizer_preset(self) -> AdamWConfig:
        """AdamW."""
        return AdamWConfig(
            lr=self.optimizer_lr, weight_decay=self.optimizer_weight_decay, grad_clip_norm=1.0
        )

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        """Warm-up, then a cosine."""
        return CosineDecayWithWarmupSchedulerConfig(
            peak_lr=self.optimizer_lr,
            decay_lr=self.optimizer_lr / 20,
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=self.scheduler_decay_steps,
        )

    @property
    def observation_delta_indices(self) -> None:
        """Observations have no time axis."""

    @property
    def action_delta_indices(self) -> list[int]:
        """Rows 0 to horizon - 1."""
        return list(range(self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        """No rewards."""


def name_camera(key: str) -> str:
    """Our name of LeRobot's picture; a module of torch cannot have a point in its name."""
    return key.removeprefix(IMAGES).replace(".", "_")


def _name_axes(what: str, size: int, names: list[str] | None) -> tuple[Axis, ...]:
    known = names if names and len(names) == size == len(set(names)) else None
    return tuple(
        Axis(name=name, unit="1", low=float("-inf"), high=float("inf"))
        for name in known or [f"{what}{index}" for index in range(size)]
    )


def _require_colour(visual: list[PolicyFeature]) -> None:
    for feature in visual:
        if len(feature.shape) != 3 or feature.shape[0] != 3:
            raise ConfigError(f"A picture has the shape {feature.shape}; it must be (3, H, W).")
