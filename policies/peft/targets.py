"""Which modules are a policy's parts, and which of their layers get adapters."""

from typing import TYPE_CHECKING

from torch import nn

from policies.peft.config import AdapterConfig
from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from policies.vla_policy import VlaPolicy

# Frozen with the language model but never adapted: its weight is used as a bare matrix.
_VOCABULARY = "vocabulary"


def find_parts(config: AdapterConfig, policy: "VlaPolicy") -> dict[str, list[nn.Module]]:
    """The modules of each part to freeze and adapt.

    Raises:
        ConfigError: when the backbone names no parts, or not this one.
    """
    named = policy.backbone.parts()
    known = named | {"backbone": [policy.backbone], "head": [policy.head]}
    wanted = list(config.parts) or [name for name in named if name != _VOCABULARY]
    if not wanted:
        kind = type(policy.backbone).__name__
        raise ConfigError(f'{kind} names no parts; say policy.peft.parts=["backbone"].')
    choices = [name for name in known if name != _VOCABULARY]
    for name in wanted:
        choose("part of the policy", name, dict.fromkeys(choices))
    found = {name: known[name] for name in wanted}
    if "language" in found and _VOCABULARY in named:
        found[_VOCABULARY] = named[_VOCABULARY]
    return found


def find_targets(
    config: AdapterConfig, policy: "VlaPolicy", parts: dict[str, list[nn.Module]]
) -> list[str]:
    """Full names of the layers that get adapters, in the order of the policy's modules.

    Subclasses of linear layers are left out: what holds them (torch's attention) reads their
    weights and never calls them.

    Raises:
        ConfigError: when a target fits no layer of the parts.
    """
    bare = {
        id(m) for owner in policy.backbone.parts().get(_VOCABULARY, []) for m in owner.modules()
    }
    inside = {
        id(module)
        for name, owners in parts.items()
        if name != _VOCABULARY
        for owner in owners
        for module in owner.modules()
    } - bare
    layers = {
        name: module
        for name, module in policy.named_modules()
        if id(module) in inside and type(module) in (nn.Linear, nn.Conv2d)
    }
    found: set[str] = set()
    for target in config.targets:
        if target == "all-linear":
            fits = {name for name, layer in layers.items() if type(layer) is nn.Linear}
        else:
            fits = {name for name in layers if f".{name}".endswith(f".{target}")}
        if not fits:
            ends = sorted({name.rpartition(".")[2] for name in layers})
            raise ConfigError(
                f"policy.peft.targets: no layer of {', '.join(parts)} is called {target!r}; "
                f'their names end in {", ".join(ends) or "nothing"}; or take "all-linear".'
            )
        found |= fits
    return [name for name in layers if name in found]
