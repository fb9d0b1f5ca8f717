"""A head with more axes than the body has: public checkpoints pad every body to the same width.

pi0 and SmolVLA are trained on 32 axes, of which a body uses the first; the others' actions are
0, but their noise is as normal as anybody's. To such a network silent lanes (0 all the way)
look like nothing it has seen, so here they carry noise as in training.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.interface import Head


class Lanes(Head):
    """Lets `head`, built for `lanes` axes, plan for a body of fewer.

    Sampling takes one fixed draw of noise for the spare lanes, the same for every plan: they
    lead to 0 whatever they begin with, and a plan stays a function of its own noise.
    """

    def __init__(self, head: Head, *, lanes: int, action_dim: int, horizon: int):
        super().__init__()
        self.head, self.action_dim, self.spare = head, action_dim, lanes - action_dim
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(horizon, self.spare, generator=generator)
        self.register_buffer("noise", noise, persistent=False)

    def wide(self) -> list[nn.Module]:
        """See `Head.wide`."""
        return self.head.wide()

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """The head's loss on the body's own axes; the spare ones are 0 and do not count."""
        actions = actions.masked_fill(mask == 0, 0.0)
        wide, real = (F.pad(part, (0, self.spare)) for part in (actions, mask))
        return self.head.loss(context, wide, real, generator=generator)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """The body's axes of the head's chunk. See `Head.sample`."""
        noise = torch.cat([noise, self.noise.expand(len(noise), -1, -1)], dim=2)
        known = (
            None if rows is None else F.pad(rows, (0, self.spare)) for rows in (pending, tentative)
        )
        committed, wanted = known
        plan = self.head.sample(context, committed, noise, tentative=wanted)
        return plan[..., : self.action_dim]
