"""Two teachers, one actor: pi0.5 with knowledge insulation (arXiv 2505.23705).

The language model learns to say the actions as words; the expert learns to draw them from the
prefix, through which none of its gradients pass. So a fresh expert cannot spoil what the
language model knows, and the language model still learns what matters to acting.
"""

import torch
from torch import Tensor, nn

from policies.backbones.interface import Context
from policies.heads.interface import Head


class InsulatedHead(Head):
    """See the module's docstring.

    Args:
        expert: acts.
        words: teaches the language model, in training only.
        words_weight: of its loss.
    """

    def __init__(self, expert: Head, words: Head, *, words_weight: float):
        super().__init__()
        self.expert, self.words, self.words_weight = expert, words, words_weight

    def wide(self) -> list[nn.Module]:
        """See `Head.wide`."""
        return self.expert.wide()

    def loss(
        self, context: Context, actions: Tensor, mask: Tensor, *, generator: torch.Generator
    ) -> Tensor:
        """The expert's loss + words_weight * that of the words. See `Head.loss`."""
        act = self.expert.loss(context, actions, mask, generator=generator)
        say = self.words.loss(context, actions, mask, generator=generator)
        return act + self.words_weight * say

    def sample(
        self,
        context: Context,
        pending: Tensor | None,
        noise: Tensor,
        *,
        tentative: Tensor | None = None,
    ) -> Tensor:
        """The expert's chunk. See `Head.sample`."""
        return self.expert.sample(context, pending, noise, tentative=tentative)
