"""ACT's head (Zhao et al., arXiv 2304.13705): a conditional variational autoencoder of chunks.

In training an encoder reads the true chunk and puts what the context does not decide (the
demonstrator's manner) into a latent z near a standard normal; a decoder writes the chunk from
context and z by L1. When planning z is 0, the most ordinary manner.
"""

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape
from policies.heads.config_latent import CvaeConfig
from policies.heads.decoder import DecoderLayer
from policies.heads.interface import Head, average, commit, draw
from policies.transformer import Block


class CvaeHead(Head):
    """See the module's docstring."""

    overwrites = True

    def __init__(self, config: CvaeConfig, *, shape: ContextShape, action_dim: int, horizon: int):
        super().__init__()
        self.config = config
        width, heads = config.width, config.attention_heads
        self.read = nn.Linear(action_dim, width)
        self.situation = nn.Linear(shape.dim, width)
        self.place = nn.Parameter(torch.randn(1 + horizon, width) * 0.02)
        self.encoder = nn.ModuleList(Block(width, heads) for _ in range(config.layers))
        self.tell = nn.Linear(width, 2 * config.latent)
        self.latent = nn.Linear(config.latent, width)
        self.memory = nn.Linear(shape.dim, width)
        self.queries = nn.Parameter(torch.randn(horizon, width) * 0.02)
        self.decoder = nn.ModuleList(DecoderLayer(width, heads) for _ in range(config.layers))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, action_dim))

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """L1 of the chunk + kl_weight * KL(z || standard normal). See `Head.loss`."""
        actions = actions.masked_fill(mask == 0, 0.0)
        mean, log_variance = self._encode(context, actions, mask)
        z = mean + (0.5 * log_variance).exp() * draw(mean, generator)
        error = average((self._decode(context, z) - actions).abs(), mask)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        real = (mask > 0).any(dim=2).any(dim=1)
        return error + self.config.kl_weight * divergence * real

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """The chunk of z = 0; `noise` and `tentative` are ignored. See `Head.sample`."""
        z = context.pooled.new_zeros(len(context.pooled), self.config.latent)
        return commit(self._decode(context, z), pending)

    def _encode(self, context: Context, actions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance float32 (B, latent) of z; padded rows are not looked at."""
        first = self.situation(context.pooled).unsqueeze(1)
        x = torch.cat([first, self.read(actions)], dim=1) + self.place
        real = (mask > 0).any(dim=2)
        seen = torch.cat([torch.ones_like(real[:, :1]), real], dim=1)[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, seen)
        mean, log_variance = self.tell(x[:, 0]).float().chunk(2, dim=1)
        return mean, log_variance

    def _decode(self, context: Context, z: Tensor) -> Tensor:
        """The chunk float32 (B, H, A) of latents (B, latent)."""
        manner = self.latent(z).unsqueeze(1)
        memory = torch.cat([manner, self.memory(context.tokens)], dim=1)
        mask = torch.cat([torch.ones_like(context.mask[:, :1]), context.mask], dim=1)
        x = self.queries.expand(len(z), -1, -1)
        for layer in self.decoder:
            x = layer(x, None, memory, mask[:, None, None, :])
        return self.leave(x).float()
