"""Many hidden states to one vector."""

import torch
from torch import Tensor


def pool(hidden: Tensor, mask: Tensor, how: str) -> Tensor:
    """The "mean" over, or the "last" of, the real tokens: (B, N, D), bool (B, N) -> (B, D)."""
    if how == "last":
        places = torch.arange(mask.shape[1], device=mask.device)
        last = places.masked_fill(~mask, -1).amax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    weight = mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)
