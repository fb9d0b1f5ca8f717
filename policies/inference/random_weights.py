"""Policies of any size with made-up weights, to be timed: the same numbers for the same names.

The policy is built without memory for its weights; each tensor is drawn, rounded to the wanted
format and put down one by one. So 7.5 B of them in bfloat16 take 15 GB and no more, and a
float32 twin holds the same numbers before rounding.
"""

from zlib import crc32

import torch
from torch import Tensor, nn

from policies.backbones.language_backbone import LanguageBackbone
from policies.config import VlaPolicyConfig
from policies.quantize.storage import unfilled
from policies.vla_policy import VlaPolicy
from vla.embodiment import Embodiment


def build_random(
    config: VlaPolicyConfig,
    body: Embodiment,
    *,
    dtype: torch.dtype,
    device: torch.device,
    seed: int = 0,
) -> VlaPolicy:
    """A policy that passes states and actions through as they are.

    Args:
        config: of untrained parts: no `name` of weights may be in it.
        body: whose cameras and axes it has.
        dtype: of what is wide, see `store_wide`; the rest stays in float32.
        device: where the weights are drawn; another device draws other numbers.
        seed: of the draw.
    """
    with unfilled():
        policy = config.build(body, None)
    assert isinstance(policy, VlaPolicy)
    store_wide(policy, dtype)
    owners = {name: module for name, module in policy.named_modules()}
    made: dict[int, nn.Parameter] = {}
    for name, parameter in policy.named_parameters(remove_duplicate=False):
        path, _, own = name.rpartition(".")
        if id(parameter) not in made:
            generator = torch.Generator(device=device).manual_seed(crc32(name.encode()) + seed)
            drawn = _draw(owners[path], own, parameter, generator)
            made[id(parameter)] = nn.Parameter(drawn.to(parameter.dtype), requires_grad=False)
        owners[path]._parameters[own] = made[id(parameter)]
    policy.state_normalizer.pass_through()
    policy.action_normalizer.pass_through()
    return policy.to(device).eval()


def store_wide(policy: VlaPolicy, dtype: torch.dtype) -> None:
    """Convert tower, projector, language model and the head's wide layers to `dtype`.

    What enters and leaves, keeps time or normalises stays in float32. A backbone without a
    language model is left as it is; run it under autocast.
    """
    if not isinstance(policy.backbone, LanguageBackbone):
        return
    wide = [part for parts in policy.backbone.parts().values() for part in parts]
    for part in (*wide, *policy.head.wide()):
        part.to(dtype)


def _draw(owner: nn.Module, name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """float32 numbers for one parameter: unit gain for matrices, norms that do nothing."""
    device = generator.device
    if like.ndim < 2:
        kind = type(owner).__name__
        zero = name == "bias" or (kind.startswith("Gemma") and kind.endswith("Norm"))
        return torch.full(like.shape, 0.0 if zero else 1.0, device=device)
    scale = like.shape[1:].numel() ** -0.5
    return torch.randn(like.shape, generator=generator, device=device).mul_(scale)
