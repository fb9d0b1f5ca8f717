"""The transformer layer of the heads whose rows or symbols look at all of the context."""

import torch
from torch import Tensor, nn

from policies.transformer import Attention, mlp


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer: rows look at each other and at the context, then an MLP."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.earlier = Attention(width, heads)
        self.look_norm = nn.LayerNorm(width)
        self.look = Attention(width, heads)
        self.mlp = mlp(width, 2)

    def forward(self, x: Tensor, earlier: Tensor | None, memory: Tensor, mask: Tensor) -> Tensor:
        """All rows (B, N, width) at once, each seeing those that `earlier` (N, N) allows."""
        normed = self.norm(x)
        x = x + self.earlier(normed, normed, earlier)
        x = x + self.look(self.look_norm(x), memory, mask)
        return x + self.mlp(x)

    def write(
        self,
        x: Tensor,
        past: tuple[Tensor, Tensor] | None,
        known: tuple[Tensor, Tensor],
        mask: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One symbol (B, 1, width), given keys and values of `past` symbols and context."""
        normed = self.norm(x)
        key, value = self.earlier.project(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        x = x + self.earlier.attend(normed, key, value, None)
        x = x + self.look.attend(self.look_norm(x), *known, mask)
        return x + self.mlp(x), (key, value)
