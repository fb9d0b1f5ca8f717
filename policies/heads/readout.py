"""Octo's head (arXiv 2405.12213): a small residual MLP that denoises the flat chunk.

It sees the mean of the readout tokens, the time and all numbers of the chunk at once. Cheap:
the steps of sampling cost next to nothing beside the backbone.
"""

from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.config_denoisers import ReadoutConfig
from policies.heads.denoiser import encode_time, zeros
from policies.heads.interface import summarize
from policies.transformer import mlp


class ReadoutNetwork(nn.Module):
    """Residual MLP with layer norms; the last layer starts at zero.

    `inputs` is the width A of noisy rows, or A + 1 for a `Flagged` one.
    """

    def __init__(
        self,
        config: ReadoutConfig,
        *,
        context_dim: int,
        inputs: int,
        action_dim: int,
        horizon: int,
    ):
        super().__init__()
        width = config.width
        self.width, self.readouts, self.rows = width, config.readouts, (horizon, action_dim)
        self.enter = nn.Linear(horizon * inputs, width)
        self.understand = nn.Linear(context_dim, width)
        self.clock = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(mlp(width, 4) for _ in range(config.layers))
        self.leave = nn.Sequential(
            nn.LayerNorm(width), zeros(nn.Linear(width, horizon * action_dim))
        )

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, inputs) at `time` (B,) to an answer float32 (B, H, A)."""
        seen = summarize(context, self.readouts).mean(dim=1)
        x = self.enter(x.flatten(1)) + self.understand(seen)
        x = x + self.clock(encode_time(time, self.width))
        for layer in self.layers:
            x = x + layer(x)
        return self.leave(x).float().unflatten(1, self.rows)
