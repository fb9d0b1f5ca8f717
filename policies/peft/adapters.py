"""Putting adapters into a policy, training them, and merging them into its weights."""

from typing import TYPE_CHECKING, Any

import peft
import torch
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.adalora import RankAllocator
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from policies.peft import frozen_weights
from policies.peft.config import AdaloraConfig, AdapterConfig
from policies.peft.layers import DeltaLinear
from policies.peft.targets import find_parts, find_targets
from vla.errors import ConfigError

if TYPE_CHECKING:
    from policies.vla_policy import VlaPolicy

_NAME = "default"  # peft's name of the one adapter there is


def attach(config: AdapterConfig, policy: "VlaPolicy") -> "Adapters":
    """Freeze the parts, put adapters beside the targets; see `PeftConfig.attach`."""
    parts = find_parts(config, policy)
    names = find_targets(config, policy, parts)
    frozen_weights.fill(config, policy)
    for owner in (owner for owners in parts.values() for owner in owners):
        owner.requires_grad_(False)
    before = {id(parameter): parameter.requires_grad for parameter in policy.parameters()}
    allocator = _insert(config, policy, names)
    for parameter in policy.parameters():
        if id(parameter) in before:
            parameter.requires_grad_(before[id(parameter)])
        elif parameter.requires_grad:
            # In half precision small updates would be rounded away.
            parameter.data = parameter.data.float()
    if config.save == "adapters":
        known = {name: p for name, p in frozen(policy).items() if id(p) in before}
        frozen_weights.leave_out(policy, known)
    return Adapters(config, allocator)


def frozen(policy: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that training leaves alone, by name."""
    return {name: p for name, p in policy.named_parameters() if not p.requires_grad}


class Adapters:
    """What the adapters of a policy need beside their layers."""

    def __init__(self, config: AdapterConfig, allocator: RankAllocator | None):
        self.config = config
        self._allocator = allocator

    def penalty(self, policy: nn.Module) -> Tensor | None:
        """What is added to the training loss: AdaLoRA's, mean of |P' P - 1| (Frobenius)."""
        if not isinstance(self.config, AdaloraConfig):
            return None
        terms = []
        for layer in find_layers(policy).values():
            for matrix in (layer.lora_A[_NAME], layer.lora_B[_NAME].T):
                product = matrix @ matrix.T
                terms.append(
                    torch.linalg.matrix_norm(product - torch.eye(len(product)).to(product))
                )
        return self.config.orthogonality * torch.stack(terms).mean()

    def after_update(self, policy: nn.Module, step: int) -> None:
        """Called after the optimizer's update `step`, counted from 1, with its gradients."""
        for layer in find_layers(policy).values():
            if isinstance(layer, DeltaLinear):
                layer.after_update(step)
        if self._allocator is not None and isinstance(self.config, AdaloraConfig):
            self._allocate(policy, self._allocator, step, self.config.steps - self.config.settle)

    def _allocate(self, policy: nn.Module, allocator: RankAllocator, step: int, last: int) -> None:
        """Cut ranks until update `last`; what is cut then stays so.

        The importances are running means that no checkpoint holds: a resumed run measures them
        anew. Which ranks are kept at the end is in the checkpoints.
        """
        layers = find_layers(policy).values()
        if step <= last:
            allocator.update_and_allocate(policy, step, force_mask=step == last)
            if step == last:
                for layer in layers:
                    layer.ranks_kept.copy_(layer.lora_E[_NAME] != 0)
            return
        with torch.no_grad():
            for layer in layers:
                layer.lora_E[_NAME].mul_(layer.ranks_kept)


def find_layers(policy: nn.Module) -> dict[str, Any]:
    """The adapted layers by name, of the library and of our own."""
    kinds = (BaseTunerLayer, DeltaLinear)
    return {name: module for name, module in policy.named_modules() if isinstance(module, kinds)}


def merge(policy: nn.Module) -> None:
    """Add every adapter to the weights beside it, and put the plain layers back."""
    for name, layer in find_layers(policy).items():
        layer.merge()
        policy.set_submodule(name, layer.get_base_layer())
    frozen_weights.keep_all(policy)


def _insert(config: AdapterConfig, policy: "VlaPolicy", names: list[str]) -> RankAllocator | None:
    """Replace the layers by adapted ones."""
    library = config.library()
    if library is None:
        for name in names:
            layer = policy.get_submodule(name)
            if type(layer) is not nn.Linear:
                raise ConfigError(
                    f"policy/peft={config.kind} adapts linear layers; {name} is none."
                )
            policy.set_submodule(name, config.wrap(layer, name))
        return None
    kind, options = library
    theirs = getattr(peft, kind)(target_modules=names, **options)
    try:
        # Not inject_adapter_in_model: it refuses the methods that share matrices among layers.
        PEFT_TYPE_TO_TUNER_MAPPING[theirs.peft_type](policy, theirs, _NAME)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"policy/peft={config.kind} does not fit the policy: {error}") from error
    if not isinstance(config, AdaloraConfig):
        return None
    for layer in find_layers(policy).values():
        kept = torch.ones_like(layer.lora_E[_NAME], dtype=torch.bool)
        layer.register_buffer("ranks_kept", kept)
    return RankAllocator(policy, theirs, _NAME)
