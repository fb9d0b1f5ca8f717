"""The whole chunk in one pass of the language model (OpenVLA-OFT, arXiv 2502.19645).

H * A placeholders stand behind the prefix; they see it and each other, and each one's last
hidden state is a scalar's. Those of a row, side by side, go through a residual MLP. Against
one word per scalar it takes 1 pass instead of H * A, and no bins.
"""

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape
from policies.heads.config_language import ParallelConfig
from policies.heads.interface import Head, average, commit
from vla.errors import ShapeError


class ParallelHead(Head):
    """L1 on the normalised chunk, hence about the conditional median; no noise."""

    overwrites = True

    def __init__(
        self, config: ParallelConfig, *, shape: ContextShape, action_dim: int, horizon: int
    ):
        super().__init__()
        self.rows = (horizon, action_dim)
        self.leave = ResidualMlp(
            shape.dim * action_dim, config.width or shape.dim, action_dim, blocks=config.blocks
        )

    def wide(self) -> list[nn.Module]:
        """See `Head.wide`."""
        return [self.leave]

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Mean absolute error; `generator` is not used. See `Head.loss`."""
        error = self._predict(context) - actions.masked_fill(mask == 0, 0.0)
        return average(error.abs(), mask)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """The predicted chunk; `noise` and `tentative` are ignored. See `Head.sample`.

        The placeholders know of no committed rows: these only overwrite the result.
        """
        return commit(self._predict(context), pending)

    def _predict(self, context: Context) -> Tensor:
        horizon, axes = self.rows
        if context.readouts is None or context.readouts.shape[1] != horizon * axes:
            have = 0 if context.readouts is None else context.readouts.shape[1]
            raise ShapeError(
                f"The context has {have} readout tokens; the parallel head needs one per scalar, "
                f"{horizon} x {axes}."
            )
        return self.leave(context.readouts.unflatten(1, self.rows).flatten(2)).float()


class ResidualMlp(nn.Module):
    """OFT's MLPResNet: norm, linear, ReLU, residual blocks of the same, norm, linear."""

    def __init__(self, inputs: int, width: int, outputs: int, *, blocks: int):
        super().__init__()
        self.enter = _bend(inputs, width)
        self.blocks = nn.ModuleList(_bend(width, width) for _ in range(blocks))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        x = self.enter(x.to(self.leave[1].weight.dtype))
        for block in self.blocks:
            x = x + block(x)
        return self.leave(x)


def _bend(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, outputs), nn.ReLU())
