"""What the loop needs from a group of data-parallel processes."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Team(Protocol):
    """Processes that hold equal weights and average their gradients.

    Each rank brings a loader that yields its own share. Rank 0 writes files and metrics.
    """

    rank: int
    size: int

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its mean over the processes."""
        ...

    def agree(self, text: str) -> str:
        """The first non-empty `text` by rank, the same on every process; "" if none has one."""
        ...


class SingleProcess:
    """A team of one."""

    rank = 0
    size = 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """The mean over one process is the tensor itself."""

    def agree(self, text: str) -> str:
        """There is nobody to agree with."""
        return text
