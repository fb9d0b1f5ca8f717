"""LeRobot's own pi0, pi0.5 and SmolVLA with our weights, run as LeRobot runs them: a yardstick.

The same tensors, pictures, words and noise; its class, its preprocessing of pictures, its
denoising loop. Pictures become float32 on the host before they are uploaded, as in its own
observation processing. Words are ours, padded to its 48.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config
from torch import nn

from policies.checkpoints.lerobot_export import describe, translate_weights
from policies.planning import finish, gather
from policies.vla_policy import VlaPolicy
from vla.errors import CheckpointError
from vla.types import ActionChunk, Observation

_WORDS = 48


class LerobotPeer:
    """`vla.contract.Policy` around LeRobot's class.

    Args:
        ours: the policy whose weights it gets; normalizers must pass everything through.
        kind: LeRobot's type, see `lerobot_export.choose_type`.
        compile_mode: of torch.compile, as LeRobot's config takes it; "" for none.

    Attributes:
        parameters, bytes: of LeRobot's module.

    Raises:
        CheckpointError: when the weights do not fit.
    """

    def __init__(self, ours: VlaPolicy, kind: str, *, compile_mode: str = ""):
        self._ours, self._device = ours, ours.device
        self.embodiment, self.history = ours.embodiment, ours.history
        told = describe(ours, kind)
        told.pop("type")
        told.pop("normalization_mapping")
        for side in ("input_features", "output_features"):
            told[side] = {
                name: PolicyFeature(type=FeatureType[each["type"]], shape=tuple(each["shape"]))
                for name, each in told[side].items()
            }
        for key in ("image_resolution", "resize_imgs_with_padding"):  # it compares with tuples
            if key in told:
                told[key] = tuple(told[key])
        if kind == "smolvla":
            told["load_vlm_weights"] = False
        if compile_mode:
            told |= {"compile_model": True, "compile_mode": compile_mode}
        dtype = next(ours.backbone.decoder.parameters()).dtype
        if kind != "smolvla":
            told["dtype"] = str(dtype).removeprefix("torch.")
        with _sizes_of(ours, kind):
            config = make_policy_config(kind, device=str(self._device), **told)
            self._policy = get_policy_class(kind)(config)
        if kind == "smolvla":  # its own mixture: the language model in the format, the rest float32
            self._policy.model.vlm_with_expert.to(dtype)
        _fill(self._policy, translate_weights(ours, kind))
        self._policy.to(self._device).eval()
        self._lanes = config.max_action_dim

    @property
    def parameters(self) -> int:
        """How many numbers its module holds."""
        return sum(weight.numel() for weight in self._policy.parameters())

    @property
    def bytes(self) -> int:
        """Bytes of them."""
        return sum(weight.nbytes for weight in self._policy.parameters())

    @torch.no_grad()
    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """See `vla.contract.Policy.act`; all observations in one batch."""
        inputs = gather(self._ours, observations, seeds)
        batch: dict[str, Any] = {
            f"observation.images.{name}": (image[:, -1].movedim(-1, 1).float() / 255).to(
                self._device
            )
            for name, image in inputs.images.items()
        }
        batch["observation.state"] = inputs.state[:, -1].to(self._device)
        ids, mask = (
            torch.cat([getattr(words, part) for words in inputs.words], dim=1)
            for part in ("ids", "mask")
        )
        room = max(0, _WORDS - ids.shape[1])
        batch["observation.language.tokens"] = F.pad(ids, (0, room)).to(self._device)
        batch["observation.language.attention_mask"] = F.pad(mask, (0, room)).to(self._device)
        noise = inputs.noise.to(self._device)
        noise = F.pad(noise, (0, self._lanes - noise.shape[2]))
        rows = self._policy.predict_action_chunk(batch, noise=noise)
        plans = finish(self._ours, rows.float(), observations)
        return [
            ActionChunk(actions=plan, time=o.time)
            for plan, o in zip(plans, observations, strict=True)
        ]


def _fill(policy: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Copy `weights` in, one by one. Raises CheckpointError for what does not fit."""
    targets = policy.state_dict(keep_vars=True)
    unknown = sorted(name for name in weights if f"model.{name}" not in targets)
    if unknown:
        raise CheckpointError(f"LeRobot's class has no {unknown[:5]}; another version of it?")
    with torch.no_grad():
        for name, weight in weights.items():
            targets[f"model.{name}"].copy_(weight)


@contextmanager
def _sizes_of(ours: VlaPolicy, kind: str) -> Iterator[None]:
    """Let SmolVLA's class take its sizes from our model, where it would ask the hub for them.

    It has no argument for that, so two names in its module are exchanged meanwhile.
    """
    if kind != "smolvla":
        yield
        return
    from lerobot.policies.smolvla import smolvlm_with_expert as module

    from policies.backbones.smolvlm import make_config

    config = make_config(ours.backbone.config)
    words = SimpleNamespace(
        tokenizer=SimpleNamespace(fake_image_token_id=1, global_image_token_id=2)
    )
    stand_ins = {"AutoConfig": config, "AutoProcessor": words}
    kept = {name: getattr(module, name) for name in stand_ins}
    for name, value in stand_ins.items():
        setattr(module, name, SimpleNamespace(from_pretrained=lambda _, value=value: value))
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)
