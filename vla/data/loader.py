"""The WindowLoader: batches of windows, reproducible from (seed, step) and prefetched."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from vla.data.batch import Batch
from vla.data.store import TrajectoryStore
from vla.data.window_reader import (
    WindowReader,
    allocate_pinned,
    check_at_least,
)
from vla.data.windows import WindowSampler


class WindowLoader:
    """Batches of training windows from one store.

    `batch(step)` depends on nothing but the arguments here and `step`; which windows a batch
    holds is described at `WindowSampler`. Threads, not processes, prefetch: decoding
    releases the GIL, and pictures need not cross a process border. Each thread makes whole
    batches: so 0, 1 and 2 threads cost the same CPU time per window (measured within 5 %).

    Args:
        store: the demonstrations.
        history: T, observation steps that end at the present.
        horizon: H, action rows that begin at the present.
        batch_size: B.
        seed: decides the order, at least 0.
        episodes: numbers of the episodes to use, e.g. `store.split("train")`.
        threads: how many prefetch; 0 makes `iterate` work in the caller's thread.
        cache_bytes: keep decoded frames in memory up to this many bytes.
        plans: see WindowReader.
        pin_memory: put batches where a GPU copies from without the CPU's help; does nothing
            on a machine without CUDA.

    Raises:
        ConfigError: for sizes below 1. DataError: when no episode is given.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        history: int,
        horizon: int,
        batch_size: int,
        seed: int,
        episodes: NDArray[np.int64],
        threads: int = 1,
        cache_bytes: int = 2**30,
        pin_memory: bool = False,
        plans: bool = False,
    ):
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, seed=seed, threads=threads)
        self.store = store
        self.batch_size = batch_size
        self._threads = threads
        self._reader = WindowReader(
            store,
            history=history,
            horizon=horizon,
            episodes=episodes,
            cache_bytes=cache_bytes,
            plans=plans,
        )
        self._sampler = WindowSampler(len(self._reader), batch_size, seed)
        self._pin = pin_memory and torch.cuda.is_available()

    def __len__(self) -> int:
        """How many windows there are; an epoch draws each once."""
        return len(self._reader)

    def batch(self, step: int) -> Batch:
        """Batch number `step`, from 0. Raises DataError when a frame cannot be read."""
        return self.windows(self._sampler.draw(step))

    def windows(self, windows: NDArray[np.int64]) -> Batch:
        """The windows of these numbers (B,), 0 to `len(self)` - 1, as a batch."""
        batch = self._reader.read(windows, allocate_pinned if self._pin else None)
        return batch.pin_memory() if self._pin else batch

    def iterate(self, start_step: int) -> Iterator[Batch]:
        """Batches `start_step`, `start_step` + 1, ... without end, prepared ahead, in order."""
        return prefetch(self.batch, start_step, self._threads)


def prefetch(batch: Callable[[int], Batch], start_step: int, threads: int) -> Iterator[Batch]:
    """`batch(start_step)`, `batch(start_step + 1)`, ... in order, prepared ahead by threads."""
    if threads == 0:
        while True:
            yield batch(start_step)
            start_step += 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="window-loader")
    ahead: deque[Future[Batch]] = deque()
    try:
        while True:
            while len(ahead) <= 2 * threads:
                ahead.append(pool.submit(batch, start_step))
                start_step += 1
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
