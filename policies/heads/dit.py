"""CogACT's head (arXiv 2411.19650): a diffusion transformer led by what was understood.

The summary z of the context ("cognition") plus the time is one more token in front of the
noisy rows; nothing else of the context is seen. In training z is now and then replaced by a
learned vector that stands for "no idea", so that sampling can go further away from what the
network would do without having looked (classifier-free guidance, Ho & Salimans, 2207.12598):
u + s (c - u) of the answers c with and u without z.

The layers are those of the released code (microsoft/CogACT, action_model/models.py), so that
its weights fit: norms without weights, GELU by tanh, the time as 256 waves.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.config_denoisers import DitConfig
from policies.heads.denoiser import zeros
from policies.heads.denoising import DenoisingHead, Flagged
from policies.heads.interface import commit, summarize

_WAVES = 256


class Dit(nn.Module):
    """Plain transformer over [z + time | rows]; the last layer starts at zero.

    `inputs` is the width A of noisy rows, or A + 1 for a `Flagged` one.
    """

    def __init__(
        self, config: DitConfig, *, context_dim: int, inputs: int, action_dim: int, horizon: int
    ):
        super().__init__()
        width = config.width
        self.readouts, self.train_steps = config.readouts, config.train_steps
        self.enter = nn.Linear(inputs, width)
        self.understand = nn.Linear(context_dim, width)
        self.clock = nn.Sequential(nn.Linear(_WAVES, width), nn.SiLU(), nn.Linear(width, width))
        tokens = max(1, config.readouts) + horizon
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.layers = nn.ModuleList(
            _Layer(width, config.attention_heads) for _ in range(config.layers)
        )
        self.norm = _norm(width)
        self.leave = zeros(nn.Linear(width, action_dim))

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, inputs) at `time` (B,) to an answer float32 (B, H, A)."""
        rows = x.shape[1]
        clock = self.clock(count_waves(time * self.train_steps)).unsqueeze(1)
        first = self.understand(summarize(context, self.readouts)) + clock
        x = torch.cat([first, self.enter(x)], dim=1) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.leave(self.norm(x[:, -rows:])).float()


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(_norm(width) for _ in range(2))
        self.look = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Every token (B, N, width) sees every token."""
        parts = self.look(self.norms[0](x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, N, width / heads)
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)


def count_waves(steps: Tensor) -> Tensor:
    """Cosines and sines of step numbers (...): float32 (..., 256), periods 2 pi to 2 pi 10^4."""
    half = _WAVES // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=steps.device) / half)
    angles = steps.float().unsqueeze(-1) * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class DitHead(DenoisingHead):
    """See the module's docstring."""

    def __init__(self, config: DitConfig, *, context_dim: int, action_dim: int, horizon: int):
        flagged = config.delay > 0
        network: nn.Module = Dit(
            config,
            context_dim=context_dim,
            inputs=action_dim + flagged,
            action_dim=action_dim,
            horizon=horizon,
        )
        super().__init__(
            config,
            process=config.make_process(),
            network=Flagged(network) if flagged else network,
            horizon=horizon,
            clip=config.clip,
        )
        self.forget, self.scale = config.forget, config.guidance
        if self.forget > 0:
            self.unconditional = nn.Parameter(torch.randn(context_dim) * 0.02)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Denoise `noise`, then keep to the limit. See `Head.sample`."""
        rows = super().sample(context, pending, noise, tentative=tentative)
        limit = self.config.limit
        return commit(rows.clamp(-limit, limit), pending) if limit else rows

    def _prepare(self, context: Context, generator: torch.Generator) -> Context:
        if self.forget == 0:
            return context
        size = context.pooled.shape[0]
        chance = torch.rand(size, generator=generator, device=generator.device)
        return self._without(context, (chance < self.forget).to(context.pooled.device))

    def _answer(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        knowing = self.denoiser(x, time, context)
        if self.scale == 1:
            return knowing
        everybody = torch.ones(len(x), dtype=torch.bool, device=x.device)
        guessing = self.denoiser(x, time, self._without(context, everybody))
        return guessing + self.scale * (knowing - guessing)

    def _without(self, context: Context, rows: Tensor) -> Context:
        """The context with nothing understood in the samples where `rows` (B,) is True."""
        nothing = self.unconditional.to(context.pooled.dtype)
        pooled = torch.where(rows.view(-1, 1), nothing, context.pooled)
        readouts = context.readouts
        if readouts is not None:
            readouts = torch.where(rows.view(-1, 1, 1), nothing, readouts)
        return replace(context, pooled=pooled, readouts=readouts)
