"""The whole chunk at once by smooth L1: no noise, no steps, about the conditional median.

A residual MLP on the pooled context (OpenVLA-OFT, arXiv 2502.19645). It is the fastest head
to train and to run; where demonstrations have several modes it ends between them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import RegressionConfig
from policies.heads.interface import Head, average, commit
from policies.transformer import mlp


class RegressionHead(Head):
    """See the module's docstring."""

    overwrites = True

    def __init__(
        self, config: RegressionConfig, *, shape: ContextShape, action_dim: int, horizon: int
    ):
        super().__init__()
        self.shape = (horizon, action_dim)
        self.smooth = config.smooth
        self.enter = nn.Linear(shape.dim, config.width)
        self.layers = nn.ModuleList(mlp(config.width, 2) for _ in range(config.layers))
        self.leave = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, horizon * action_dim)
        )

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Mean error per sample; `generator` is not used. See `Head.loss`.

        Plain L1 learns slowly where most demonstrations hold still: the median stays zero
        until the network is sure of the sign. The square near zero has no such dead zone.
        """
        actions = actions.masked_fill(mask == 0, 0.0)  # padding may hold anything, even NaN
        plan = self._predict(context)
        error = F.smooth_l1_loss(plan, actions, reduction="none", beta=self.smooth)
        return average(error, mask)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """The predicted chunk; `noise` and `tentative` are ignored. See `Head.sample`."""
        return commit(self._predict(context), pending)

    def _predict(self, context: Context) -> Tensor:
        x = self.enter(context.pooled)
        for layer in self.layers:
            x = x + layer(x)
        return self.leave(x).float().unflatten(1, self.shape)
