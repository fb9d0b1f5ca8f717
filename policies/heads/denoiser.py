"""The trunk that flow matching and diffusion share: a transformer over noisy action rows."""

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.config import DiffusionConfig, FlowConfig
from policies.transformer import Attention


class Denoiser(nn.Module):
    """A diffusion transformer (Peebles & Xie, arXiv 2212.09748) that looks at the context.

    Each action row is a token. Time and the pooled context set scale, shift and gate of
    every layer (adaLN-Zero); the context's tokens are read by cross-attention. The last
    layer starts at zero, and with it the output.
    """

    def __init__(
        self,
        config: FlowConfig | DiffusionConfig,
        *,
        context_dim: int,
        action_dim: int,
        horizon: int,
    ):
        super().__init__()
        self.width = width = config.width
        self.enter = nn.Linear(action_dim, width)
        self.position = nn.Parameter(torch.randn(horizon, width) * 0.02)
        self.memory = nn.Linear(context_dim, width)
        self.pooled = nn.Linear(context_dim, width)
        self.clock = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(
            _Layer(width, config.attention_heads) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zeros(nn.Linear(width, 2 * width))
        self.leave = zeros(nn.Linear(width, action_dim))

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, A) at `time` (B,) or (B, H) to a prediction float32 (B, H, A)."""
        time = time.view(len(x), -1)  # one time for all rows, or one each
        condition = nn.functional.silu(
            self.clock(encode_time(time, self.width)) + self.pooled(context.pooled).unsqueeze(1)
        )
        memory = self.memory(context.tokens)
        mask = context.mask[:, None, None, :]
        x = self.enter(x) + self.position
        for layer in self.layers:
            x = layer(x, condition, memory, mask)
        scale, shift = self.modulate(condition).chunk(2, dim=-1)
        return self.leave(self.norm(x) * (1 + scale) + shift).float()


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in "abc")
        self.rows = Attention(width, heads)
        self.look = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.modulate = zeros(nn.Linear(width, 9 * width))

    def forward(self, x: Tensor, condition: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        parts = self.modulate(condition).chunk(9, dim=-1)

        def modulated(index: int) -> Tensor:
            scale, shift = parts[3 * index], parts[3 * index + 1]
            return self.norms[index](x) * (1 + scale) + shift

        rows = modulated(0)
        x = x + parts[2] * self.rows(rows, rows)
        x = x + parts[5] * self.look(modulated(1), memory, mask)
        return x + parts[8] * self.mlp(modulated(2))


def encode_time(time: Tensor, width: int) -> Tensor:
    """Sinusoids of `time` (...) in about [0, 1]: float32 (..., width), periods 4e-3 to 4."""
    last = max(1, width // 2 - 1)
    told = [4 * 10 ** (3 * index / last - 3) for index in range(width // 2)]
    periods = torch.tensor(told, device=time.device)  # a constant in exported graphs
    angles = time.float().unsqueeze(-1) * (2 * torch.pi / periods)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def zeros[Layer: nn.Linear | nn.Conv1d](layer: Layer) -> Layer:
    """The layer with weights 0, so that what it adds or says is 0 at first."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
