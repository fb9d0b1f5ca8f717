"""What a backbone owes to the heads: one call that turns an observation into tokens."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a head may look at.

    Attributes:
        tokens: float (B, N, D).
        mask: bool (B, N), True where a token is real; every row has at least one.
        pooled: float (B, D), one summary vector for heads that want no sequence.
        labels: predictions (B, K) by name, for auxiliary losses; empty when there are none.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)

    def repeat(self, times: int) -> "Context":
        """Each sample `times` times in a row (B * times, ...), so that one encoding serves
        several draws of noise; the labels stay behind.
        """
        if times == 1:
            return self
        tokens, mask, pooled = (
            value.repeat_interleave(times, dim=0) for value in (self.tokens, self.mask, self.pooled)
        )
        return Context(tokens=tokens, mask=mask, pooled=pooled)


class Backbone(nn.Module, ABC):
    """Sees, reads and feels; knows nothing of actions.

    Attributes:
        dim: width D of its tokens.
    """

    dim: int

    @abstractmethod
    def encode(self, images: dict[str, Tensor], texts: list[str], state: Tensor) -> Context:
        """Encode B observations, each as if it were alone.

        Args:
            images: per camera uint8 (B, T, H, W, 3), RGB, newest step last.
            texts: B instructions.
            state: float32 (B, T, S), normalised.

        Returns:
            Context with the width `self.dim`.
        """
