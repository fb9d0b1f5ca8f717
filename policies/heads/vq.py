"""VQ-BeT's head (Lee et al., arXiv 2403.03181): which chunk, and how far from it.

A residual quantizer learns a few chunks that demonstrations consist of. The head says how
likely each code is, draws one by the noise, and adds an offset to the chunk that it stands
for. Several ways to do a thing stay several, and one pass plans: no steps.

Here both learn at once; the paper trains the quantizer first and then keeps it. Codes are
drawn level by level, each by itself, as there.
"""

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape
from policies.heads.config_latent import VqConfig
from policies.heads.decoder import DecoderLayer
from policies.heads.interface import Head, average, commit
from policies.heads.tokenizers.vq import ResidualQuantizer, focal_loss
from vla.errors import ConfigError

_FIRST, _OTHERS = 5.0, 0.5  # VQ-BeT's weights of the first and the later levels


class VqHead(Head):
    """See the module's docstring.

    Raises:
        ConfigError: when the chunk has fewer numbers than there are levels to draw.
    """

    overwrites = True

    def __init__(self, config: VqConfig, *, shape: ContextShape, action_dim: int, horizon: int):
        super().__init__()
        if config.levels > horizon * action_dim:
            raise ConfigError(
                f"VqConfig.levels {config.levels} is above the {horizon * action_dim} numbers of "
                "a chunk."
            )
        self.config, self.shape = config, (horizon, action_dim)
        width = config.width
        self.quantizer = ResidualQuantizer(
            horizon=horizon,
            axes=action_dim,
            width=width,
            latent=config.latent,
            levels=config.levels,
            codes=config.codes,
        )
        self.queries = nn.Parameter(torch.randn(config.levels + 1, width) * 0.02)
        self.memory = nn.Linear(shape.dim, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.attention_heads) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.choose = nn.Linear(width, config.codes)
        self.offset = nn.Sequential(
            nn.Linear(width + config.latent, width),
            nn.GELU(),
            nn.Linear(width, horizon * action_dim),
        )

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """The quantizer's loss, choosing its codes, and the error with the offset.

        `generator` is not used. See `Head.loss`.
        """
        actions = actions.masked_fill(mask == 0, 0.0)
        with torch.autocast(actions.device.type, enabled=False):  # near codes are told apart
            told, codes = self.quantizer.loss(actions, mask)
        logits, seen = self._look(context)
        weights = torch.full((self.config.levels,), _OTHERS, device=actions.device)
        weights[0] = _FIRST
        real = (mask > 0).any(dim=2).any(dim=1)
        chosen = (focal_loss(logits, codes) * weights).sum(dim=1) * real
        error = average((self._plan(codes, seen) - actions).abs(), mask)
        return told + chosen + self.config.offset_weight * error

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Codes drawn by `noise`, with their offset; `tentative` is ignored. See `Head.sample`."""
        logits, seen = self._look(context)
        # The normal distribution function makes noise uniform; where that falls among the
        # probabilities laid end to end is the code.
        ends = logits.float().softmax(dim=2).cumsum(dim=2)
        uniform = torch.special.ndtr(noise.flatten(1)[:, : self.config.levels]).unsqueeze(2)
        codes = (uniform > ends).sum(dim=2).clamp(max=self.config.codes - 1)
        return commit(self._plan(codes, seen), pending)

    def _look(self, context: Context) -> tuple[Tensor, Tensor]:
        """Logits (B, levels, codes), and what the offset is told by, (B, width)."""
        x = self.queries.expand(len(context.pooled), -1, -1)
        memory = self.memory(context.tokens)
        for layer in self.layers:
            x = layer(x, None, memory, context.mask[:, None, None, :])
        x = self.norm(x)
        return self.choose(x[:, :-1]), x[:, -1]

    def _plan(self, codes: Tensor, seen: Tensor) -> Tensor:
        """The chunk float32 (B, H, A) of codes (B, levels); they are taken as they are."""
        with torch.autocast(codes.device.type, enabled=False):
            z = self.quantizer.look_up(codes).detach()
            middle = self.quantizer.restore(z).detach()
        offset = self.offset(torch.cat([seen, z.to(seen.dtype)], dim=1))
        return middle + offset.float().unflatten(1, self.shape)
