"""Diffusion over action chunks (Chi et al., arXiv 2303.04137), schedulers by `diffusers`.

DDPM training on a squared-cosine schedule; DDIM sampling without noise (eta = 0), so that
the chunk is a function of its first noise.
"""

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import DiffusionConfig
from policies.heads.denoiser import Denoiser
from policies.heads.interface import Head, average, commit, draw


class DiffusionHead(Head):
    """See the module's docstring."""

    def __init__(
        self, config: DiffusionConfig, *, shape: ContextShape, action_dim: int, horizon: int
    ):
        super().__init__()
        self.config = config
        self.schedule = DDPMScheduler(
            num_train_timesteps=config.train_steps,
            beta_schedule="squaredcos_cap_v2",
            prediction_type=config.prediction,
        )
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
        """Squared error of what is predicted, averaged over `draws`. See `Head.loss`."""
        draws = self.config.draws
        # Padding enters the network too (its rows attend to each other): make it zeros.
        actions = actions.masked_fill(mask == 0, 0.0).repeat_interleave(draws, dim=0)
        noise = draw(actions, generator)
        steps = torch.randint(
            self.config.train_steps,
            actions.shape[:1],
            generator=generator,
            device=generator.device,
        ).to(actions.device)
        noisy = self.schedule.add_noise(actions, noise, steps)
        predicted = self._denoise(noisy, steps, context.repeat(draws))
        error = (predicted - self._target(actions, noise, steps)).square()
        return average(error, mask.repeat_interleave(draws, dim=0)).view(-1, draws).mean(dim=1)

    def sample(self, context: Context, pending: Tensor | None, noise: Tensor) -> Tensor:
        """Denoise `noise` in `steps` DDIM steps. See `Head.sample`.

        Committed rows are noised to the level of each step, so that the rest sees them as it
        saw such rows in training.
        """
        return denoise(
            lambda x, step: self._denoise(x, step.expand(x.shape[0]), context),
            noise,
            pending,
            config=self.config,
        )

    def _denoise(self, noisy: Tensor, steps: Tensor, context: Context) -> Tensor:
        return self.denoiser(noisy, steps / self.config.train_steps, context)

    def _target(self, actions: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        if self.config.prediction == "epsilon":
            return noise
        if self.config.prediction == "sample":
            return actions
        return self.schedule.get_velocity(actions, noise, steps)


def denoise(
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    pending: Tensor | None,
    *,
    config: DiffusionConfig,
) -> Tensor:
    """DDIM (Song et al., arXiv 2010.02502) from `noise` (B, H, A) with `predict(x, step ())`.

    "Trailing" steps start at the last, noisiest one, where training saw almost pure noise.
    """
    schedule = DDIMScheduler(
        num_train_timesteps=config.train_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=config.prediction,
        clip_sample=config.clip > 0,
        clip_sample_range=config.clip,
        timestep_spacing="trailing",
    )
    schedule.set_timesteps(config.steps)
    x = noise
    for step in schedule.timesteps.to(noise.device):
        if pending is not None:
            first = noise[:, : pending.shape[1]]
            x = commit(x, schedule.add_noise(pending, first, step.reshape(1)))
        x = schedule.step(predict(x, step), step, x, eta=0.0).prev_sample
    return commit(x, pending)
