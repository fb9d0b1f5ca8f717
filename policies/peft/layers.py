"""Adapters of our own around a frozen linear layer.

Each computes W x + dW x with dW = 0 when it is made, and can add dW to W for good.
"""

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.peft.config_own import NolaConfig, SelectiveConfig, SvfitConfig


class DeltaLinear(nn.Module):
    """A linear layer with a trained change beside it.

    Attributes:
        base_layer: the frozen layer.
    """

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.base_layer = layer

    @property
    def weight(self) -> Tensor:
        """Of the frozen layer; those who ask want its dtype or shape."""
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        """Of the frozen layer."""
        return self.base_layer.bias

    def factors(self) -> tuple[Tensor, Tensor]:
        """Up float32 (out, r) and down (r, in), whose product is the change of the weight."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear`; the change is computed in float32 (or what autocast says)."""
        up, down = self.factors()
        base = self.base_layer(x)
        return base + F.linear(F.linear(x.to(down.dtype), down), up).to(base.dtype)

    def after_update(self, step: int) -> None:
        """Called after the optimizer's update `step`, counted from 1."""

    @torch.no_grad()
    def merge(self) -> None:
        """Add the change to the frozen weight; this adapter is of no use then."""
        up, down = self.factors()
        weight = self.base_layer.weight
        weight.copy_(weight.float() + up @ down)

    def get_base_layer(self) -> nn.Linear:
        """The frozen layer."""
        return self.base_layer


class NolaLinear(DeltaLinear):
    """dW = alpha / r * (sum_j b_j B_j)(sum_i a_i A_i); see `NolaConfig`.

    The random matrices are in no checkpoint: they follow from seed and name, by torch's CPU
    generator, whose stream torch has so far kept from release to release.
    """

    def __init__(self, layer: nn.Linear, config: NolaConfig, name: str):
        super().__init__(layer)
        device, count, rank = layer.weight.device, config.bases, config.rank
        digest = hashlib.sha256(f"{config.seed} {name}".encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        down = torch.randn(count, rank, layer.in_features, generator=source)
        up = torch.randn(count, layer.out_features, rank, generator=source)
        down /= math.sqrt(layer.in_features)
        self.register_buffer("downs", down.to(device), persistent=False)
        self.register_buffer("ups", up.to(device), persistent=False)
        first = torch.randn(count, generator=source) / math.sqrt(count)
        self.mix_down = nn.Parameter(first.to(device))
        self.mix_up = nn.Parameter(torch.zeros(count, device=device))
        self._scale = config.alpha / rank

    def factors(self) -> tuple[Tensor, Tensor]:
        """See `DeltaLinear.factors`."""
        up = torch.tensordot(self.mix_up, self.ups, dims=1)
        return self._scale * up, torch.tensordot(self.mix_down, self.downs, dims=1)


class SvfitLinear(DeltaLinear):
    """dW = U diag(shift) V of the largest singular values; see `SvfitConfig`.

    The singular vectors are kept in checkpoints: found anew they could differ.
    """

    def __init__(self, layer: nn.Linear, config: SvfitConfig):
        super().__init__(layer)
        left, values, right = torch.linalg.svd(layer.weight.detach().float(), full_matrices=False)
        rank = min(config.rank, len(values))
        self.register_buffer("left", left[:, :rank].contiguous())
        self.register_buffer("right", right[:rank].contiguous())
        self.shift = nn.Parameter(torch.zeros(rank, device=left.device))

    def factors(self) -> tuple[Tensor, Tensor]:
        """See `DeltaLinear.factors`."""
        return self.left * self.shift, self.right


class SelectiveLinear(DeltaLinear):
    """dW = alpha / r * B diag(importance) A; see `SelectiveConfig`.

    Shrinking by soft thresholds after each update is the proximal step of an L1 penalty: unlike
    the penalty's gradient it makes importances exactly 0. A weight average (EMA) of them is
    small instead, so count ranks on the raw weights.
    """

    def __init__(self, layer: nn.Linear, config: SelectiveConfig):
        super().__init__(layer)
        device, rank = layer.weight.device, config.rank
        self.down = nn.Parameter(torch.empty(rank, layer.in_features, device=device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank, device=device))
        self.importance = nn.Parameter(torch.ones(rank, device=device))
        self._scale = config.alpha / rank
        self._threshold, self._dense_steps = config.threshold, config.dense_steps

    def factors(self) -> tuple[Tensor, Tensor]:
        """See `DeltaLinear.factors`."""
        return self._scale * self.up * self.importance, self.down

    @torch.no_grad()
    def after_update(self, step: int) -> None:
        """Shrink the importances."""
        if step > self._dense_steps:
            self.importance.copy_(F.softshrink(self.importance, self._threshold))
