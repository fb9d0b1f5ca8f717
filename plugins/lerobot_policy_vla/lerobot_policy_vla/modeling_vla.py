"""A policy of the vla stack behind LeRobot's `PreTrainedPolicy`."""

from collections import deque
from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from lerobot_policy_vla.configuration_vla import ACTION, STATE, VlaConfig, name_camera
from vla.data.batch import Batch
from vla.data.stats import FIELDS, Statistics, VectorStatistics
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, StatisticsError
from vla.types import Observation


class VlaPolicy(PreTrainedPolicy):
    """See the module's docstring.

    Args:
        config: which backbone and head.
        dataset_stats: LeRobot's statistics by key; not needed when weights, which hold their
            own, are about to be loaded.
        dataset_meta: LeRobot's description of the data, for the axes' names.

    Raises:
        ConfigError: for features or options that do not fit.
        StatisticsError: when statistics are missing or cannot be used.
    """

    config_class = VlaConfig
    name = "vla"

    def __init__(
        self,
        config: VlaConfig,
        dataset_stats: dict[str, dict[str, Any]] | None = None,
        dataset_meta: Any = None,
        **_: Any,
    ):
        super().__init__(config)
        names = {} if dataset_meta is None else _read_names(dataset_meta.features)
        body = config.describe_body(names)
        if config.checkpoint:
            from configs.restoring import load_policy

            inner, _weights = load_policy(
                config.checkpoint, device=config.device or "cpu", embodiment=body
            )
            body = inner.embodiment
        else:
            statistics = _read_statistics(body, dataset_stats) if dataset_stats else None
            inner = config.choose().build(body, statistics)
        if inner.history != 1 or not isinstance(inner, torch.nn.Module):
            raise ConfigError(f"{config.checkpoint!r} sees {inner.history} steps; LeRobot keeps 1.")
        self.inner = inner
        # The body travels in config.json, so that the weights can be loaded without the data.
        config.body.update(body.to_json())
        self.reset()

    def get_optim_params(self) -> Any:
        """Every trained weight."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def reset(self) -> None:
        """Forget the plan."""
        self._rows: deque[Tensor] = deque()

    def forward(self, batch: dict[str, Any], reduction: str = "mean") -> tuple[Tensor, dict]:
        """The loss, and its parts; randomness comes from torch's global generator.

        Raises:
            ConfigError: for another reduction than "mean".
        """
        if reduction != "mean":
            raise ConfigError(f"reduction {reduction!r}: a vla policy has only 'mean'.")
        actions = batch[ACTION].float()
        padded = batch.get(f"{ACTION}_is_pad")
        mask = torch.ones_like(actions)
        if padded is not None:
            mask = mask * (~padded).unsqueeze(-1)
        told = Batch(
            images=self._see(batch),
            state=_with_time(batch[STATE].float(), 2),
            instruction=_read_tasks(batch),
            actions=actions,
            mask=mask,
            labels={},
        )
        generator = torch.Generator().manual_seed(_draw_seed())
        loss, parts = self.inner.loss(told, generator=generator)
        return loss, {key: float(value) for key, value in parts.items()}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """Plans float32 (B, H, A), each within its body's bounds."""
        self.eval()
        states = _with_time(batch[STATE].float(), 2).cpu().numpy()
        images = {name: frames.cpu().numpy() for name, frames in self._see(batch).items()}
        observations = [
            Observation(
                images={name: frames[index] for name, frames in images.items()},
                state=states[index],
                instruction=task,
                time=0.0,
            )
            for index, task in enumerate(_read_tasks(batch))
        ]
        plans = self.inner.act(observations, seeds=[_draw_seed() for _ in observations])
        rows = torch.from_numpy(np.stack([plan.actions for plan in plans]))
        return rows.to(batch[STATE].device)

    def _see(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Pictures uint8 (B, 1, H, W, 3) by our cameras' names. Raises ConfigError."""
        keys = {name_camera(key): key for key in self.config.image_features}
        missing = [name for name in self.inner.embodiment.cameras if keys.get(name) not in batch]
        if missing:
            raise ConfigError(f"The policy sees {missing}; LeRobot offers {sorted(keys)}.")
        return {name: _to_bytes(batch[keys[name]]) for name in self.inner.embodiment.cameras}

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next action (B, A) of the plan; a new plan when `n_action_steps` are done."""
        if not self._rows:
            rows = self.predict_action_chunk(batch)
            self._rows.extend(rows[:, : self.config.n_action_steps or None].unbind(dim=1))
        return self._rows.popleft()


def _draw_seed() -> int:
    return int(torch.randint(2**62, (1,)))


def _with_time(value: Tensor, rank: int) -> Tensor:
    """A time axis behind the batch's, unless it is there."""
    return value.unsqueeze(1) if value.ndim == rank else value


def _to_bytes(pictures: Tensor) -> Tensor:
    """Pictures (B, [T,] 3, H, W) in [0, 1], or bytes, to uint8 (B, T, H, W, 3)."""
    pictures = _with_time(pictures, 4).movedim(2, -1)
    if pictures.dtype == torch.uint8:
        return pictures
    return (pictures * 255).round().clamp(0, 255).to(torch.uint8)


def _read_tasks(batch: dict[str, Any]) -> list[str]:
    size = len(batch[STATE])
    tasks = batch.get("task", [""] * size)
    return [tasks] * size if isinstance(tasks, str) else list(tasks)


def _read_names(features: dict[str, Any]) -> dict[str, list[str]]:
    """Axis names by key, where they are a plain list."""
    found = {key: features.get(key, {}).get("names") for key in (STATE, ACTION)}
    return {key: list(names) for key, names in found.items() if isinstance(names, list | tuple)}


def _read_statistics(body: Embodiment, told: dict[str, dict[str, Any]]) -> Statistics:
    return Statistics(
        state=_read_vector(STATE, body.state, told),
        action=_read_vector(ACTION, body.action, told),
        source="lerobot",
    )


def _read_vector(
    key: str, axes: tuple[Axis, ...], told: dict[str, dict[str, Any]]
) -> VectorStatistics:
    known = told.get(key, {})
    lacking = [name for name in FIELDS if name not in known]
    if lacking:
        raise StatisticsError(
            f"The data set's statistics of {key!r} lack {lacking}; LeRobot's "
            "augment_dataset_quantile_stats.py adds quantiles."
        )
    values = {name: np.asarray(known[name], np.float64).reshape(-1) for name in FIELDS}
    count = int(np.asarray(known.get("count", 0)).reshape(-1)[0])
    return VectorStatistics(names=tuple(axis.name for axis in axes), count=count, **values)
