"""Training windows over a store's time axis, and which of them make up which batch.

A window belongs to one present frame p of an episode [start, end):

    history  p-T+1 ... p      before the episode's start the first frame repeats
    future   p ... p+H-1      past the episode's end rows are padding, mask 0

Frames are numbers along the store's time axis. Nothing here reads data.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vla.embodiment import Axis
from vla.errors import DataError
from vla.types import Float32

Int64 = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowTable:
    """Every window of the chosen episodes: int64 (W,) each.

    Attributes:
        present: the frame a window belongs to.
        start, end: its episode's first frame and one past its last.
        episode: its episode's number.
    """

    present: Int64
    start: Int64
    end: Int64
    episode: Int64

    @classmethod
    def build(cls, episode_ends: Int64, episodes: Int64) -> "WindowTable":
        """One window per frame of the episodes, in their order.

        Raises:
            DataError: when there is none.
        """
        if len(episodes) == 0:
            raise DataError("No episodes to take windows from; is the split empty?")
        ends = episode_ends[episodes]
        starts = np.concatenate([[0], episode_ends[:-1]])[episodes]
        lengths = ends - starts
        first = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return cls(
            present=np.repeat(starts, lengths) + np.arange(lengths.sum()) - first,
            start=np.repeat(starts, lengths),
            end=np.repeat(ends, lengths),
            episode=np.repeat(np.asarray(episodes, np.int64), lengths),
        )

    def __len__(self) -> int:
        return len(self.present)

    def history(self, windows: Int64, steps: int) -> Int64:
        """Frames (B, T) that end at the present; the episode's first frame repeats before it."""
        frames = self.present[windows, None] + np.arange(1 - steps, 1)
        return np.maximum(frames, self.start[windows, None])

    def future(self, windows: Int64, rows: int) -> tuple[Int64, NDArray[np.bool_]]:
        """Frames (B, H) from the present on, the last one repeating, and which are real (B, H)."""
        frames = self.present[windows, None] + np.arange(rows)
        ends = self.end[windows, None]
        return np.minimum(frames, ends - 1), frames < ends


def pad_actions(action: Float32, real: NDArray[np.bool_], axes: tuple[Axis, ...]) -> None:
    """Make rows past the end mean "stay": in place, `action` (B, H, A), `real` (B, H).

    `WindowTable.future` has repeated the last row. That is right for absolute axes and
    those relative to the chunk's start; a delta axis must stop, so it becomes 0.
    """
    delta = np.array([axis.mode == "delta" for axis in axes], bool)
    action[~real[:, :, None] & delta] = 0


class WindowSampler:
    """Batch `step` as a pure function of (seed, step): epochs of shuffling without replacement.

    Draw number k, counted over all batches, is entry k mod W of the permutation of epoch
    k div W. A permutation comes from a Philox generator keyed by (seed, epoch), so training
    resumes exactly from the step alone. Batches run on across the end of an epoch.

    Args:
        windows: how many there are, W.
        batch_size: B.
        seed: at least 0.
    """

    def __init__(self, windows: int, batch_size: int, seed: int):
        self._windows = windows
        self._batch_size = batch_size
        self._seed = seed
        # Two, because a batch may lie across two epochs.
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def _permute(self, epoch: int) -> Int64:
        generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        return generator.permutation(self._windows)

    def draw(self, step: int) -> Int64:
        """Windows (B,) of batch `step`."""
        draws = step * self._batch_size + np.arange(self._batch_size)
        epochs, places = np.divmod(draws, self._windows)
        picked = np.empty(self._batch_size, np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            picked[here] = self._permutation(epoch)[places[here]]
        return picked
