"""Flow matching (Lipman et al., arXiv 2210.02747; as an action head: pi0, arXiv 2410.24164).

A straight path leads from noise (t = 0) to the chunk (t = 1):
x_t = t a + (1 - t) e. The network learns its velocity a - e; sampling follows it by Euler
steps.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import FlowConfig
from policies.heads.denoiser import Denoiser
from policies.heads.interface import Head, average, commit, draw

_BETA = 1.5  # pi0: Beta(1.5, 1), on the time to go


class FlowHead(Head):
    """See the module's docstring."""

    def __init__(self, config: FlowConfig, *, shape: ContextShape, action_dim: int, horizon: int):
        super().__init__()
        self.config = config
        self.denoiser = Denoiser(
            width=config.width,
            layers=config.layers,
            attention_heads=config.attention_heads,
            context_dim=shape.dim,
            action_dim=action_dim,
            horizon=horizon,
        )

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Squared error of the velocity, averaged over `draws`. See `Head.loss`."""
        draws = self.config.draws
        # Padding enters the network too (its rows attend to each other): make it zeros.
        actions = actions.masked_fill(mask == 0, 0.0).repeat_interleave(draws, dim=0)
        noise = draw(actions, generator)
        time = self._draw_times(actions, generator)
        at = time.view(-1, 1, 1)
        noisy = at * actions + (1 - at) * noise
        velocity = self.denoiser(noisy, time, context.repeat(draws))
        error = (velocity - (actions - noise)).square()
        return average(error, mask.repeat_interleave(draws, dim=0)).view(-1, draws).mean(dim=1)

    def sample(self, context: Context, pending: Tensor | None, noise: Tensor) -> Tensor:
        """Integrate from `noise` in `steps` Euler steps. See `Head.sample`.

        Committed rows are held on their own straight path, so that the rest sees them as it
        saw such rows in training.
        """
        return integrate(
            lambda x, time: self.denoiser(x, time, context), noise, pending, steps=self.config.steps
        )

    def _draw_times(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Times (B,) in [0, 1), "beta": Beta(1, 1.5), more of them near the noise."""
        uniform = torch.rand(like.shape[0], generator=generator, device=generator.device)
        if self.config.time_sampling == "beta":
            uniform = 1 - uniform ** (1 / _BETA)  # by the inverse distribution function
        return uniform.to(like.device)


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    pending: Tensor | None,
    *,
    steps: int,
) -> Tensor:
    """Follow `velocity(x (B, H, A), time (B,))` from `noise` at t = 0 to t = 1.

    The first rows keep to the straight path from their noise to `pending` (B, K, A).
    """
    x = noise
    for step in range(steps):
        at = step / steps
        if pending is not None:
            x = commit(x, at * pending + (1 - at) * noise[:, : pending.shape[1]])
        x = x + velocity(x, x.new_full((x.shape[0],), at)) / steps
    return commit(x, pending)
