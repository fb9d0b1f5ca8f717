"""The frozen weights: where they come from, what they are, and leaving them out when saving."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vla.errors import ConfigError
from vla.training.checkpoint import load_weights

if TYPE_CHECKING:
    from policies.peft.config import AdapterConfig
    from policies.vla_policy import VlaPolicy


def digest(tensors: Mapping[str, Tensor]) -> bytes:
    """SHA-256 of names, dtypes, shapes and values, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy())
    return total.digest()


def fill(config: "AdapterConfig", policy: "VlaPolicy") -> None:
    """Load the base into the policy, which has no adapters yet.

    Raises:
        ConfigError: when frozen weights are left out of checkpoints and come from nowhere.
        CheckpointError: when the base cannot be read or is of another policy.
    """
    if config.base:
        load_weights(policy, config.base)
    elif config.save == "adapters" and not getattr(policy.config.backbone, "name", ""):
        raise ConfigError(
            "save=adapters leaves the frozen weights out of checkpoints, but they are random here "
            "and could not be found again: give policy.peft.base or policy.backbone.name, or "
            "take save=full."
        )


def leave_out(policy: nn.Module, frozen: Mapping[str, nn.Parameter]) -> None:
    """Keep the frozen weights out of the policy's state, and their digest in it.

    Whoever fills the policy from a file compares tensors called "..._sha256" instead of
    copying them.
    """
    policy.register_buffer(
        "base_sha256", torch.frombuffer(bytearray(digest(frozen)), dtype=torch.uint8)
    )
    names = tuple(frozen)

    def remove(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        if hasattr(module, "base_sha256"):
            for name in names:
                state.pop(prefix + name, None)

    policy.register_state_dict_post_hook(remove)


def keep_all(policy: nn.Module) -> None:
    """Undo `leave_out`."""
    if hasattr(policy, "base_sha256"):
        del policy.base_sha256
