"""AdamW with the usual exceptions, and a learning rate that is a pure function of the step."""

import math

import torch
from torch import Tensor, nn

from vla.errors import CheckpointError, TrainingError
from vla.training.config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up to the peak, then half a cosine down to the floor.

    `step` counts updates from 1: the peak is reached at step `warmup_steps`, the floor
    (`learning_rate_floor` times the peak) exactly at the last step.
    Cosine annealing without restarts: Loshchilov & Hutter 2017, eq. 5.
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    floor = config.learning_rate_floor
    return config.learning_rate * (floor + (1 - floor) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each parameter group `rate` times its own multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"]


def build_optimizer(policy: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) over the parameters that require gradients.

    Up to four groups: with and without weight decay, inside and outside the child
    module "backbone".

    Raises:
        TrainingError: when nothing is trainable.
    """
    undecayed = _undecayed(policy)
    groups: dict[tuple[bool, bool], dict] = {}
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad:
            continue
        in_backbone, decays = name.startswith("backbone."), name not in undecayed
        group = groups.setdefault(
            (in_backbone, decays),
            {
                "params": [],
                "names": [],
                "weight_decay": config.weight_decay if decays else 0.0,
                "multiplier": config.backbone_multiplier if in_backbone else 1.0,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise TrainingError("The policy has no trainable parameter; unfreeze a part of it.")
    # One kernel per tensor and step: about three times as fast as the default on a CPU.
    devices = {parameter.device.type for group in groups.values() for parameter in group["params"]}
    fused = devices <= {"cpu", "cuda"}
    first, second = config.betas
    return torch.optim.AdamW(
        list(groups.values()), lr=config.learning_rate, betas=(first, second), fused=fused
    )


def _undecayed(policy: nn.Module) -> set[str]:
    """Names of parameters that weight decay would only harm: scales, offsets and tables."""
    names = set()
    for prefix, module in policy.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            table = isinstance(module, nn.Embedding) or "embed" in leaf
            if parameter.ndim < 2 or leaf == "bias" or table:
                names.add(f"{prefix}.{leaf}" if prefix else leaf)
    return names


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as "<parameter name>/<quantity>", ready for safetensors."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for quantity, value in optimizer.state[parameter].items():
                tensors[f"{name}/{quantity}"] = value
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `optimizer_tensors`.

    Raises:
        CheckpointError: when the memory belongs to other parameters.
    """
    names = [name for group in optimizer.param_groups for name in group["names"]]
    memory: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, quantity = key.rsplit("/", 1)
        memory.setdefault(name, {})[quantity] = value
    strangers = sorted(memory.keys() - set(names))
    if strangers:
        raise CheckpointError(
            "The saved optimizer trained parameters that are not trained now: "
            f"{', '.join(strangers[:5])}. Resume with the configuration of the run, or begin a "
            "new run from its weights."
        )
    state = optimizer.state_dict()
    state["state"] = {i: memory[name] for i, name in enumerate(names) if name in memory}
    optimizer.load_state_dict(state)
