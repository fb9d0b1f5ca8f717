"""What a backbone owes to the heads: one call that turns an observation into tokens.

Heads that only look (cross-attention, a pooled vector) need `tokens` and `pooled`. Heads that
think along with the language model layer by layer (pi0's expert) read the keys and values of
`prefix`. Heads that write words (RT-2, OpenVLA, pi0-FAST) go on behind it with `language`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Sizes of a decoder-only language model, for those who attend to its layers.

    Attributes:
        width: D of its hidden states.
        layers: how many it has (after truncation).
        heads, key_value_heads, head_dim: of its attention.
        rope_theta: base of its rotary positions.
        vocabulary: rows of its output layer.
    """

    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    rope_theta: float
    vocabulary: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextShape:
    """What a head is built for.

    Attributes:
        dim: width D of the context's tokens.
        state_dim: entries of one sample's state, T * S.
        language: of the backbone's language model; None when it offers none to the heads.
    """

    dim: int
    state_dim: int = 0
    language: Geometry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """What a language model has read so far.

    Attributes:
        layers: per layer its keys and values (B, key_value_heads, N, head_dim); keys are
            rotated to their positions already.
        mask: bool (B, N), True where a token is real.
        positions: int64 (B, N) rotary positions; those of padding mean nothing.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor
    positions: Tensor

    def repeat(self, times: int) -> "Prefix":
        """Each sample `times` times in a row."""
        layers = tuple(
            (key.repeat_interleave(times, dim=0), value.repeat_interleave(times, dim=0))
            for key, value in self.layers
        )
        mask, positions = (x.repeat_interleave(times, dim=0) for x in (self.mask, self.positions))
        return Prefix(layers=layers, mask=mask, positions=positions)

    def clone(self) -> "Prefix":
        """A copy; made outside inference mode it allows autograd."""
        layers = tuple((key.clone(), value.clone()) for key, value in self.layers)
        return Prefix(layers=layers, mask=self.mask.clone(), positions=self.positions.clone())

    def detach(self) -> "Prefix":
        """The same numbers, through which no gradient flows (knowledge insulation)."""
        layers = tuple((key.detach(), value.detach()) for key, value in self.layers)
        return replace(self, layers=layers)


class Language(Protocol):
    """A language model that goes on behind a prefix.

    Attributes:
        tokenizer: of transformers.
    """

    tokenizer: Any

    def embed(self, symbols: Tensor) -> Tensor:
        """Token ids int64 (B, n) to embeddings (B, n, D), scaled as the model wants them."""
        ...

    def extend(
        self, embedded: Tensor, prefix: Prefix, visible: Tensor | None = None
    ) -> tuple[Tensor, Prefix]:
        """Read n more tokens.

        Args:
            embedded: (B, n, D); all of them are real, their positions count on.
            prefix: what was read before; all its real tokens are seen.
            visible: bool (n, n) among the new tokens, row sees column; None: causal.

        Returns:
            Last hidden states (B, n, D), normed as for `score`, and the longer prefix.
        """
        ...

    def score(self, hidden: Tensor) -> Tensor:
        """Logits float32 (B, n, vocabulary) of the next token."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a head may look at.

    Attributes:
        tokens: float (B, N, D).
        mask: bool (B, N), True where a token is real; every row has at least one.
        pooled: float (B, D), one summary vector for heads that want no sequence.
        labels: predictions (B, K) by name, for auxiliary losses; empty when there are none.
        state: float32 (B, T, S), the normalised state the backbone was given; None in tests.
        readouts: (B, R, D), last hidden states of the readout tokens the head asked for.
        prefix: what the language model has read, readouts not included; None without one.
        language: goes on behind `prefix`; None without a language model.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)
    state: Tensor | None = None
    readouts: Tensor | None = None
    prefix: Prefix | None = None
    language: Language | None = None

    def last(self) -> Tensor:
        """Hidden state (B, 1, D) of the last real token, which tells the next word."""
        assert self.prefix is not None
        steps = torch.arange(self.prefix.mask.shape[1], device=self.prefix.mask.device)
        index = torch.where(self.prefix.mask, steps, -1).amax(dim=1)
        return self.tokens[torch.arange(len(index), device=index.device), index].unsqueeze(1)

    def repeat(self, times: int) -> "Context":
        """Each sample `times` times in a row (B * times, ...), so that one encoding serves
        several draws of noise; the labels stay behind.
        """
        if times == 1:
            return self

        def again(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.repeat_interleave(times, dim=0)

        return Context(
            tokens=self.tokens.repeat_interleave(times, dim=0),
            mask=self.mask.repeat_interleave(times, dim=0),
            pooled=self.pooled.repeat_interleave(times, dim=0),
            state=again(self.state),
            readouts=again(self.readouts),
            prefix=self.prefix and self.prefix.repeat(times),
            language=self.language,
        )

    def clone(self) -> "Context":
        """A copy without labels; made outside inference mode it allows autograd."""
        return Context(
            tokens=self.tokens.clone(),
            mask=self.mask.clone(),
            pooled=self.pooled.clone(),
            state=None if self.state is None else self.state.clone(),
            readouts=None if self.readouts is None else self.readouts.clone(),
            prefix=self.prefix and self.prefix.clone(),
            language=self.language,
        )


class Backbone(nn.Module, ABC):
    """Sees, reads and feels; knows nothing of actions.

    Attributes:
        dim: width D of its tokens.
        shape: what heads may be built for.
        readable: whether `encode` also takes words as numbers, from `read`.
    """

    readable = False
    dim: int
    shape: ContextShape

    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules that adapters may be asked for by name: vision, projector, language.

        "vocabulary", the output layer, is frozen with the language and never adapted.
        """
        return {}

    def read(self, texts: list[str]) -> tuple[Tensor, ...]:
        """B instructions as tensors (B, ...) of fixed shapes, which `encode` takes as `texts`."""
        raise NotImplementedError

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
