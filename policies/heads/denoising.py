"""The head that all denoising networks share: how they learn and how they plan.

In training each chunk is mixed with noise of a random level, several times over (`draws`:
one encoding serves them all, CogACT, arXiv 2411.19650), and the network learns to tell chunk
from noise. With `delay` it sometimes gets the first rows clean, as they will be when a plan is
begun while the last one is still carried out (arXiv 2512.05964).
"""

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.config import DenoisingConfig
from policies.heads.interface import Head, average, draw
from policies.heads.noising import Level, Process, target
from policies.heads.sampling import Seam, denoise
from vla.errors import ConfigError


class Network(Protocol):
    """Tells chunk from noise; see `Process.prediction` for what it answers."""

    def __call__(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """Noisy rows (B, H, A) at `time` (B,) or (B, H) to an answer float32 (B, H, A)."""
        ...


class DenoisingHead(Head):
    """See the module's docstring.

    Args:
        config: how it is trained and sampled.
        process: the path from noise to chunks.
        network: `nn.Module` that keeps the protocol `Network`.
        horizon: H.
        clip: bound on the clean chunk at each step of sampling, 0 for none.

    Raises:
        ConfigError: when `config.delay` leaves no row to plan.
    """

    def __init__(
        self,
        config: DenoisingConfig,
        *,
        process: Process,
        network: nn.Module,
        horizon: int,
        clip: float = 0.0,
    ):
        super().__init__()
        if config.delay >= horizon:
            raise ConfigError(
                f"{type(config).__name__}.delay {config.delay} leaves no row of the horizon "
                f"{horizon} to plan; take at most {horizon - 1}."
            )
        self.config, self.process, self.denoiser, self.clip = config, process, network, clip

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Squared error of the answer, averaged over `draws`. See `Head.loss`."""
        draws = self.config.draws
        # Padding enters the network too (its rows attend to each other): make it zeros.
        actions = actions.masked_fill(mask == 0, 0.0).repeat_interleave(draws, dim=0)
        mask = mask.repeat_interleave(draws, dim=0)
        noise = draw(actions, generator)
        level = _move(self.process.draw(actions.shape[0], generator), actions)
        if self.config.delay:
            level, planned = self._give_first_rows(level, actions, generator)
            mask = mask * planned
        context = self._prepare(context.repeat(draws), generator)
        answer = self.denoiser(level.mix(actions, noise), level.time, context)
        error = (answer - target(self.process.prediction, actions, noise, level)).square()
        return average(error, mask).view(-1, draws).mean(dim=1)

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Denoise `noise` in the configured steps. See `Head.sample`."""
        config = self.config
        seam = Seam(mask=config.soft_mask, limit=config.pull, trained=config.delay > 0)

        def walk(seen: Context, *rows: Tensor | None) -> Tensor:
            first, committed, wanted = rows
            return denoise(
                lambda x, time: self._answer(x, time, seen),
                first,
                committed,
                wanted,
                process=self.process,
                seam=seam,
                clip=self.clip,
            )

        if tentative is None:
            return walk(context, noise, pending, None)
        # Guidance needs gradients by the rows, wherever the caller forbids them.
        with torch.inference_mode(False), torch.no_grad():
            rows = (None if x is None else x.clone() for x in (noise, pending, tentative))
            return walk(context.clone(), *rows)

    def _prepare(self, context: Context, generator: torch.Generator) -> Context:
        """What the network reads in training."""
        return context

    def _answer(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """What sampling follows."""
        return self.denoiser(x, time, context)

    def _give_first_rows(
        self, level: Level, actions: Tensor, generator: torch.Generator
    ) -> tuple[Level, Tensor]:
        """The first 0 to `delay` rows without noise, and which are left to plan (B, H, 1)."""
        size, horizon = actions.shape[:2]
        given = torch.randint(
            self.config.delay + 1, (size, 1), generator=generator, device=generator.device
        ).to(actions.device)
        clean = torch.arange(horizon, device=actions.device) < given  # (B, H)
        time = level.time.unsqueeze(1).expand(size, horizon).masked_fill(clean, self.process.clean)
        alpha, sigma = (
            part.expand(size, horizon, 1).masked_fill(clean.unsqueeze(2), value)
            for part, value in ((level.alpha, 1.0), (level.sigma, 0.0))
        )
        return Level(time=time, alpha=alpha, sigma=sigma), (~clean).unsqueeze(2)


class Flagged(nn.Module):
    """Tells a network that knows one time per chunk which rows are clean: one more channel."""

    def __init__(self, network: nn.Module):
        """`network` takes rows of A + 1 numbers and answers with A."""
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """See `Network`. The last row has the chunk's time: it is never a clean one of many."""
        if time.ndim == 1:
            time = time.unsqueeze(1).expand(x.shape[:2])
        clean = (time != time[:, -1:]).unsqueeze(2)
        return self.network(torch.cat([x, clean.to(x.dtype)], dim=2), time[:, -1], context)


def _move(level: Level, like: Tensor) -> Level:
    parts = {name: getattr(level, name).to(like.device) for name in ("time", "alpha", "sigma")}
    return replace(level, **parts)
