"""What a head owes to the policy: a loss to train by and a sampler to act by."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context


class Head(nn.Module, ABC):
    """Turns a context into a chunk of H rows of A normalised actions.

    Attributes:
        overwrites: committed rows only take the place of planned ones; the rest of the plan is
            what it would be without them.
    """

    overwrites = False

    def wide(self) -> list[nn.Module]:
        """Layers that may be stored in bfloat16 and then compute in it; most heads have none."""
        return []

    @abstractmethod
    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """Per-sample loss, the mean over the real entries of each sample.

        Args:
            context: of B observations.
            actions: float32 (B, H, A), normalised.
            mask: float32 (B, H, A), 1 where real; padded entries have no influence.
            generator: torch.Generator, the only source of randomness.

        Returns:
            float32 (B,); 0 for a sample without a real entry.
        """

    @abstractmethod
    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """Plan one chunk per observation; a pure function of its arguments.

        Args:
            context: of B observations.
            pending: float32 (B, K, A), K <= H, normalised rows that are already committed,
                or None. They come back as the first K rows and the rest continues them.
            noise: float32 (B, H, A), standard normal; heads without randomness ignore it.
            tentative: float32 (B, M, A), K + M <= H, normalised rows of the last plan behind
                the committed ones, or None. Heads that denoise are drawn towards them; the
                others ignore them and say so.

        Returns:
            float32 (B, H, A), normalised.
        """


def average(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of `error` (B, H, A) over the real entries of each sample: (B,), 0 without any.

    Padding is cut out by selection, so that its error, however large, weighs nothing.
    """
    real = mask > 0
    kept = error.float().masked_fill(~real, 0.0)
    return kept.sum(dim=(1, 2)) / real.sum(dim=(1, 2)).clamp(min=1)


def commit(rows: Tensor, pending: Tensor | None) -> Tensor:
    """Put the committed rows (B, K, A) in the place of the first K of `rows` (B, H, A)."""
    if pending is None or pending.shape[1] == 0:
        return rows
    return torch.cat([pending.to(rows.dtype), rows[:, pending.shape[1] :]], dim=1)


def summarize(context: Context, readouts: int) -> Tensor:
    """What a head without a view of all tokens looks at: (B, R, D).

    The readout tokens when it asked for some, else the pooled vector alone, R = 1.
    """
    if readouts and context.readouts is not None:
        return context.readouts
    return context.pooled.unsqueeze(1)


def draw(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise shaped like `like`, drawn on the generator's device."""
    noise = torch.randn(like.shape, generator=generator, device=generator.device)
    return noise.to(like.device)
