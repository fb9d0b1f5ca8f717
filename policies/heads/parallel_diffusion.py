"""OpenVLA-OFT's diffusion variant: the language model denoises (arXiv 2502.19645).

Each noisy scalar becomes an embedding; with one more for the time they stand behind the prefix,
all see all, and the residual MLP reads the answer off their last hidden states. The prefix is
encoded once, the scalars once per step.
"""

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape
from policies.heads.config_language import ParallelDiffusionConfig, require_language
from policies.heads.denoiser import encode_time
from policies.heads.parallel import ResidualMlp
from vla.errors import ShapeError


class ParallelNetwork(nn.Module):
    """A `Network` of `policies.heads.denoising`; the last layer starts at zero.

    Raises:
        ConfigError: for a backbone without a language model.
    """

    def __init__(
        self,
        config: ParallelDiffusionConfig,
        *,
        shape: ContextShape,
        action_dim: int,
        horizon: int,
    ):
        super().__init__()
        self.dim, self.rows = require_language(config, shape).width, (horizon, action_dim)
        self.enter = nn.Sequential(nn.Linear(1, self.dim), nn.GELU(), nn.Linear(self.dim, self.dim))
        # The language model knows a placeholder's place only by its rotary position.
        self.place = nn.Parameter(torch.randn(horizon * action_dim, self.dim) * 0.02)
        self.clock = nn.Linear(self.dim, self.dim)
        self.leave = ResidualMlp(
            self.dim * action_dim, config.width or self.dim, action_dim, blocks=config.blocks
        )
        nn.init.zeros_(self.leave.leave[1].weight)
        nn.init.zeros_(self.leave.leave[1].bias)

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, A) at `time` (B,), or (B, H) row by row, to an answer (B, H, A)."""
        if context.language is None or context.prefix is None:
            raise ShapeError("The context has no language model or no prefix to go on behind.")
        scalars = self.enter(x.flatten(1).unsqueeze(2)) + self.place
        clock = self.clock(encode_time(time, self.dim))
        if time.ndim == 1:
            tokens = torch.cat([clock.unsqueeze(1), scalars], dim=1)
        else:  # clean first rows: every scalar is told the time of its row
            tokens = scalars + clock.repeat_interleave(self.rows[1], dim=1)
        count = tokens.shape[1]
        visible = torch.ones(count, count, dtype=torch.bool, device=x.device)
        hidden, _ = context.language.extend(tokens, context.prefix, visible)
        seen = hidden[:, count - scalars.shape[1] :]
        return self.leave(seen.unflatten(1, self.rows).flatten(2)).float()
