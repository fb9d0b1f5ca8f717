"""Windows for torch's own DataLoader, for those whose training code is built around it.

    dataset = WindowDataset(store, history=2, horizon=16, episodes=store.split("train"))
    for batch in load_with_workers(dataset, batch_size=32, seed=0, workers=2):

The batches are those of `WindowLoader` with the same sizes and seed. That one takes half the
CPU time: its threads hand pictures over as they are, while worker processes send them through
shared memory, whose pages the kernel has to find anew for every batch.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from vla.data.batch import Batch
from vla.data.store import TrajectoryStore
from vla.data.window_reader import WindowReader, check_at_least
from vla.data.windows import WindowSampler


class WindowDataset(Dataset[Batch]):
    """Map-style dataset of windows; works in forked and in spawned workers.

    Files are opened where they are first read. Decoded frames are not kept by default: each
    worker would keep its own.

    Args:
        store, history, horizon, episodes, cache_bytes: as for `WindowReader`.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        history: int,
        horizon: int,
        episodes: NDArray[np.int64],
        cache_bytes: int = 0,
    ):
        self._reader = WindowReader(
            store, history=history, horizon=horizon, episodes=episodes, cache_bytes=cache_bytes
        )

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self._reader)

    def __getitem__(self, window: int) -> Batch:
        """Window number `window` as a batch of one. Raises DataError."""
        return self.__getitems__([window])

    def __getitems__(self, windows: list[int]) -> Batch:
        """Several windows at once, as one batch; torch's DataLoader calls this by itself."""
        return self._reader.read(np.asarray(windows, np.int64))


class WindowBatches(Sampler[list[int]]):
    """Which windows make up batch `start_step` and those after it, without end.

    Args:
        windows, batch_size, seed: as for `WindowSampler`.
        start_step: where to begin; training resumes from it alone.
    """

    def __init__(self, windows: int, batch_size: int, seed: int, start_step: int = 0):
        self._sampler = WindowSampler(windows, batch_size, seed)
        self._start = start_step

    def __iter__(self) -> Iterator[list[int]]:
        step = self._start
        while True:
            yield self._sampler.draw(step).tolist()
            step += 1


def load_with_workers(
    dataset: WindowDataset,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    start_step: int = 0,
    context: str | None = None,
    pin_memory: bool = False,
) -> DataLoader[Batch]:
    """An endless torch DataLoader: batch k of it is `WindowLoader.batch(start_step + k)`.

    Args:
        dataset: the windows.
        batch_size: as for `WindowLoader`.
        seed: likewise.
        workers: processes; 0 reads in this one.
        start_step: the first batch, from 0.
        context: how workers start: "fork", "spawn" or "forkserver"; None is the platform's way.
        pin_memory: see `WindowLoader`.

    Raises:
        ConfigError: for numbers that are too small.
    """
    check_at_least(1, batch_size=batch_size)
    check_at_least(0, seed=seed, workers=workers, start_step=start_step)
    return DataLoader(
        dataset,
        batch_sampler=WindowBatches(len(dataset), batch_size, seed, start_step),
        num_workers=workers,
        collate_fn=_keep,
        multiprocessing_context=context if workers else None,
        pin_memory=pin_memory and torch.cuda.is_available(),
    )


def _keep(batch: Batch) -> Batch:
    return batch
