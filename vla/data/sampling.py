"""Which window of which store comes when, computable for any step without those before."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vla.errors import ConfigError

BLOCK = 65_536
"""Draws whose shares are drawn together; a resume recomputes one short vector per block."""
# What a generator is for, as the second word of its key: the streams stay apart.
SHARES, ORDER, WINDOWS = 0, 1, 2

Int64 = NDArray[np.int64]


class MixtureSampler:
    """Which window of which source is drawn: a pure function of (seed, draw number).

    Each draw takes a source independently with the given probabilities; within a source,
    epochs of shuffling without replacement. Both follow from Philox generators keyed by
    numbers, so that any draw can be found without the ones before it: resuming needs the
    step alone, and ranks or workers that share the draws see one common stream.

    The shares of a block of draws come from one multinomial draw, their order from one
    permutation; that has the distribution of independent draws.

    Args:
        sizes: windows of each source, at least 1.
        weights: relative, positive.
        seed: at least 0.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        if len(sizes) != len(weights) or not sizes or min(sizes) < 1:
            raise ConfigError(f"{len(sizes)} sources of {list(sizes)} windows have no mixture.")
        if not (np.isfinite(weights).all() and min(weights) > 0):
            raise ConfigError(f"Mixture weights are {list(weights)}; each must be above 0.")
        self.sizes = tuple(sizes)
        self.shares = np.array(weights, np.float64) / np.sum(weights)
        self._seed = seed
        # Draws of each source before block b. Threads that race here write equal values.
        self._before = {0: np.zeros(len(sizes), np.int64)}
        self._block = lru_cache(maxsize=2)(self._draw_block)
        # Two epochs of every source: a batch may lie across their border.
        self._permutation = lru_cache(maxsize=2 * len(sizes))(self._permute)

    def draw(self, numbers: Int64) -> tuple[Int64, Int64]:
        """Source and window (n,) of the draws of these numbers (n,), counted from 0."""
        sources, places = np.empty_like(numbers), np.empty_like(numbers)
        blocks, inside = np.divmod(numbers, BLOCK)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            drawn, order = self._block(block)
            sources[here], places[here] = drawn[inside[here]], order[inside[here]]
        windows = np.empty_like(numbers)
        for source in np.unique(sources).tolist():
            here = sources == source
            epochs, rest = np.divmod(places[here], self.sizes[source])
            found = np.empty_like(rest)
            for epoch in np.unique(epochs).tolist():
                now = epochs == epoch
                found[now] = self._permutation(source, epoch)[rest[now]]
            windows[here] = found
        return sources, windows

    def _draw_block(self, block: int) -> tuple[Int64, Int64]:
        """Per draw of the block: its source, and how many draws of that source came before."""
        counts = self._count(block)
        sources = np.repeat(np.arange(len(counts)), counts)
        sources = self._generator(ORDER, block).permutation(sources)
        places = np.empty_like(sources)
        for source, before in enumerate(self._counted(block).tolist()):
            here = sources == source
            places[here] = before + np.arange(counts[source])
        return sources, places

    def _counted(self, block: int) -> Int64:
        """Draws of each source before `block`."""
        for earlier in range(block):
            if earlier + 1 not in self._before:
                self._before[earlier + 1] = self._before[earlier] + self._count(earlier)
        return self._before[block]

    def _count(self, block: int) -> Int64:
        return self._generator(SHARES, block).multinomial(BLOCK, self.shares)

    def _permute(self, source: int, epoch: int) -> NDArray[np.integer]:
        size = self.sizes[source]
        dtype = np.uint32 if size <= 2**32 else np.uint64
        return self._generator(WINDOWS, epoch, source).permutation(size).astype(dtype)

    def _generator(self, *key: int) -> np.random.Generator:
        # SeedSequence mixes any number of words into Philox's two.
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, *key])))
