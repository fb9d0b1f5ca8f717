"""Our pi0, pi0.5 and SmolVLA as folders that LeRobot loads: weights, config.json, processors.

The inverse of `lerobot_folder`, by the same tables. Layers that LeRobot stores but no action
goes through (output layers) are filled with the embedding or with zeros. Pictures that are not
of the network's own size are resized by LeRobot without smoothing, whatever `fit` says here.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from policies.backbones.language_config import PaligemmaConfig, SmolvlmConfig
from policies.checkpoints import pi0, smolvla
from policies.checkpoints.lerobot_folder import IMAGES, STATE
from policies.checkpoints.lerobot_processors import write_processors
from policies.checkpoints.translation import PADDED, restore, stretch
from policies.heads.config_expert import ExpertConfig
from policies.vla_policy import VlaPolicy
from vla.errors import ConfigError
from vla.files import complete_folder, write_json
from vla.training.weights import module_tensors


def export_lerobot(policy: VlaPolicy, folder: Path) -> str:
    """Write `folder`, completely or not at all.

    Returns:
        LeRobot's type of it.

    Raises:
        ConfigError: when LeRobot has no class for such a policy.
    """
    kind = choose_type(policy)
    weights = {f"model.{name}": weight for name, weight in translate_weights(policy, kind).items()}
    with complete_folder(folder) as draft:
        save_file(
            {name: weight.detach().cpu().contiguous() for name, weight in weights.items()},
            draft / "model.safetensors",
            metadata={"format": "pt"},
        )
        settings = describe(policy, kind)
        write_json(draft / "config.json", settings)
        write_processors(draft, policy, settings)
    return kind


def choose_type(policy: VlaPolicy) -> str:
    """The LeRobot type that computes the same. Raises ConfigError when there is none."""
    config = policy.config
    backbone, head = config.backbone, config.head
    plain = config.history == 1 and not config.relative_actions
    if plain and isinstance(head, ExpertConfig) and not head.causal:
        told = isinstance(backbone, PaligemmaConfig) and backbone.size == "pi" and not backbone.name
        if told and head.family == "gemma" and head.joint_every == 1:
            if (head.time, head.state, backbone.state) == ("mlp", "token", "none"):
                return "pi0"
            if (head.time, head.state, backbone.state) == ("norm", "none", "text"):
                return "pi05"
    if plain and isinstance(head, ExpertConfig) and head.causal and head.family == "llama":
        small = isinstance(backbone, SmolvlmConfig) and backbone.size == "smolvla"
        if small and not backbone.name and backbone.state == "token":
            return "smolvla"
    raise ConfigError(
        f"LeRobot has no class for policy/backbone={backbone.kind} (size {backbone.size!r}) with "
        f"policy/head={head.kind}: only pi0, pi05 and smolvla as public weights give them, with "
        "history=1 and absolute actions."
        if hasattr(backbone, "size")
        else f"LeRobot has no class for policy/backbone={backbone.kind}; its pi0, pi05 and smolvla "
        "are paligemma or smolvlm here, with policy/head=expert."
    )


def describe(policy: VlaPolicy, kind: str) -> dict[str, Any]:
    """config.json of LeRobot 0.6."""
    config, body, size = policy.config, policy.embodiment, policy.backbone.tower.size
    inputs = {STATE: {"type": "STATE", "shape": [len(body.state)]}}
    for name in policy.backbone.cameras:
        camera = body.cameras[name]
        inputs[IMAGES + name] = {"type": "VISUAL", "shape": [3, camera.height, camera.width]}
    mode = {"mean_std": "MEAN_STD", "quantile": "QUANTILES", "min_max": "MIN_MAX"}
    told = {
        "type": kind,
        "n_obs_steps": 1,
        "input_features": inputs,
        "output_features": {"action": {"type": "ACTION", "shape": [len(body.action)]}},
        "normalization_mapping": {
            "VISUAL": "IDENTITY",
            "STATE": mode[config.normalization],
            "ACTION": mode[config.normalization],
        },
        "chunk_size": config.horizon,
        "n_action_steps": config.horizon,
        "max_state_dim": PADDED,
        "max_action_dim": config.head.lanes or len(body.action),
    }
    if kind != "smolvla":
        return told | {"num_inference_steps": config.head.steps, "image_resolution": [size, size]}
    return told | {
        "num_steps": config.head.steps,
        "resize_imgs_with_padding": [size, size],
        "vlm_model_name": config.backbone.tokenizer,
        "num_vlm_layers": len(policy.backbone.decoder.layers),
        "num_expert_layers": len(_find_expert(policy).denoiser.layers),
        "self_attn_every_n_layers": config.head.joint_every,
        "expert_width_multiplier": _find_expert(policy).denoiser.width / policy.backbone.dim,
    }


def _find_expert(policy: VlaPolicy) -> Any:
    """The head without the lanes around it."""
    return getattr(policy.head, "head", policy.head)


def translate_weights(policy: VlaPolicy, kind: str) -> dict[str, Tensor]:
    """All weights under LeRobot's names, without its leading "model."."""
    ours = {name: weight.detach() for name, weight in module_tensors(policy).items()}
    expert, states = dict(_find_expert(policy).named_parameters()), len(policy.embodiment.state)
    layers = len(_find_expert(policy).denoiser.layers)
    if kind == "smolvla":
        factor = stretch(policy.backbone.dim**0.5)
        for name in smolvla.SCALED:
            ours[name] = factor.leave(ours[name])
        theirs = _rename(ours, smolvla.PARTS)
        theirs |= restore(expert, smolvla.list_expert(layers=layers))
        return theirs | restore(ours, smolvla.list_state(state_dim=states))
    theirs = _rename(ours, pi0.PARTS)
    embedding = ours["backbone.decoder.embed_tokens.weight"]
    theirs[f"{pi0.MODEL}lm_head.weight"] = embedding.clone()
    width = _find_expert(policy).denoiser.width
    theirs[f"{pi0.EXPERT}.lm_head.weight"] = torch.zeros(len(embedding), width)
    if kind == "pi05":
        return theirs | restore(expert, pi0.list_adaptive_expert(layers=layers))
    return theirs | restore(expert, pi0.list_expert(layers=layers, state_dim=states))


def _rename(ours: dict[str, Tensor], parts: dict[str, str]) -> dict[str, Tensor]:
    return {
        theirs + name.removeprefix(prefix): weight
        for theirs, prefix in parts.items()
        for name, weight in ours.items()
        if name.startswith(prefix)
    }
