"""What a tokenizer of action chunks owes to the heads that write symbols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Chunks that symbols stand for.

    Attributes:
        actions: float32 (B, H, A), normalised, finite.
        valid: bool (B,), False where a sequence does not spell a chunk. Its actions are then
            those of the part up to the first flaw, the rest as if it were zeros; the caller
            decides whether they may be carried out.
    """

    actions: Tensor
    valid: Tensor


class Tokenizer(Protocol):
    """Turns normalised chunks into symbols 0 to `vocabulary` - 1.

    Attributes:
        vocabulary: how many symbols there are.
    """

    vocabulary: int

    def encode(self, actions: Tensor) -> list[list[int]]:
        """Symbols of each chunk (B, H, A); the lengths may differ."""
        ...

    def decode(self, sequences: Sequence[Sequence[int]], *, horizon: int, axes: int) -> Decoded:
        """The chunks (B, H, A) that sequences stand for; takes any integers, never raises."""
        ...
