"""One symbol per scalar, row by row: RT-2 (arXiv 2307.15818) and OpenVLA (arXiv 2406.09246)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from policies.heads.tokenizers.interface import Decoded


class UniformBins:
    """RT-2: equal bins over [-bound, bound], symbols 0 to bins - 1; values beyond saturate."""

    def __init__(self, *, bins: int = 256, bound: float = 1.0):
        """A value is told by the centre of its bin, off by bound / bins at most."""
        self.vocabulary, self.bound = bins, bound

    def quantize(self, actions: Tensor) -> Tensor:
        """Bin numbers int64 of normalised actions of any shape."""
        scaled = (actions.float() / self.bound + 1) / 2 * self.vocabulary
        return scaled.floor().clamp(0, self.vocabulary - 1).long()

    def restore(self, symbols: Tensor) -> Tensor:
        """Centres float32 of bin numbers of any shape."""
        return ((symbols.float() + 0.5) / self.vocabulary * 2 - 1) * self.bound

    def encode(self, actions: Tensor) -> list[list[int]]:
        """See `Tokenizer.encode`; H * A symbols per chunk."""
        return self.quantize(actions).flatten(1).tolist()

    def decode(self, sequences: Sequence[Sequence[int]], *, horizon: int, axes: int) -> Decoded:
        """See `Tokenizer.decode`."""
        return decode_scalars(self, sequences, horizon=horizon, axes=axes)


class EdgeBins(UniformBins):
    """OpenVLA: `bins` edges from -1 to 1, hence bins - 1 centres; id = vocabulary - digit.

    `numpy.digitize` counts the edges at or below a value, so digits run from 1 to `bins`: 1
    itself falls on the last edge and gets a digit of its own, which has no centre. It is read
    as the last centre (the published decoder clips alike): two ids mean the same number, and
    -1 to 1 is told by bins - 1 = 255 values, not by 256.

    Args:
        words: rows V of the language model's vocabulary; the symbols are its last `bins` ids,
            V - 256 to V - 1. OpenVLA counts Llama's 32000 words, not the 32064 rows that its
            output layer is padded to.
        bins: how many edges.
    """

    def __init__(self, *, words: int = 32000, bins: int = 256):
        super().__init__(bins=bins, bound=1.0)
        self.words = self.vocabulary = words
        self.bins = bins
        self.edges = torch.linspace(-1, 1, bins, dtype=torch.float64)
        self.centres = (self.edges[:-1] + self.edges[1:]) / 2

    def _place(self, device: torch.device) -> None:
        """Move the tables once, so that planning on a GPU waits for no upload."""
        if self.edges.device != device:
            self.edges, self.centres = self.edges.to(device), self.centres.to(device)

    def quantize(self, actions: Tensor) -> Tensor:
        """Ids int64 in the language model's vocabulary."""
        clipped = actions.double().clamp(-1, 1)
        self._place(actions.device)
        return self.words - torch.bucketize(clipped, self.edges, right=True)

    def restore(self, symbols: Tensor) -> Tensor:
        """Centres float32 of ids; ids outside the last 256 are taken for the nearest of them."""
        index = (self.words - symbols - 1).clamp(0, self.bins - 2)
        self._place(symbols.device)
        return self.centres[index].float()


def decode_scalars(
    bins: UniformBins, sequences: Sequence[Sequence[int]], *, horizon: int, axes: int
) -> Decoded:
    """Sequences of one symbol per scalar, up to the first that is none: see `Decoded`."""
    actions = torch.zeros(len(sequences), horizon * axes)
    valid = torch.zeros(len(sequences), dtype=torch.bool)
    first = bins.words - bins.bins if isinstance(bins, EdgeBins) else 0
    for index, sequence in enumerate(sequences):
        good = list(sequence[: horizon * axes])
        flaws = [k for k, symbol in enumerate(good) if not first <= symbol < bins.vocabulary]
        if flaws:
            good = good[: flaws[0]]
        valid[index] = len(good) == len(sequence) == horizon * axes
        if good:
            actions[index, : len(good)] = bins.restore(torch.tensor(good))
    return Decoded(actions=actions.unflatten(1, (horizon, axes)), valid=valid)
