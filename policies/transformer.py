"""The transformer parts that the tiny backbone and the heads share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention from `x` to `memory` (Vaswani et al., 2017)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, M, width / heads) of `memory` (B, M, width)."""
        key, value = self.key_value(memory).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def attend(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """`x` (B, N, width) looks at projected memory; `mask` broadcasts to (B, heads, N, M)."""
        seen = F.scaled_dot_product_attention(
            self._split(self.query(x)), key.to(x.dtype), value.to(x.dtype), attn_mask=mask
        )
        return self.out(seen.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` (B, N, width) looks at `memory` (B, M, width) where `mask` is True."""
        return self.attend(x, *self.project(memory), mask)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm transformer layer: self-attention, then an MLP."""

    def __init__(self, width: int, heads: int, *, expansion: int = 2):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = mlp(width, expansion)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` (B, N, width); `mask` broadcasts to (B, heads, N, N), True where visible."""
        normed = self.norm(x)
        x = x + self.attention(normed, normed, mask)
        return x + self.mlp(x)


def mlp(width: int, expansion: int) -> nn.Sequential:
    """LayerNorm, then two layers with a GELU between them."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, expansion * width),
        nn.GELU(),
        nn.Linear(expansion * width, width),
    )


def waves(values: Tensor, count: int, *, shortest: float = 0.5) -> Tensor:
    """Sines and cosines of `values` (...): (..., 2 * count), float32.

    Periods fall geometrically from 4 to `shortest`, so that numbers in [-1, 1] are told
    apart both coarsely and finely (Mildenhall et al., 2020).
    """
    told = [4 * (shortest / 4) ** (index / max(1, count - 1)) for index in range(count)]
    periods = torch.tensor(told, device=values.device)  # a constant in exported graphs
    angles = values.float().unsqueeze(-1) * (2 * torch.pi / periods)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
