"""The WindowLoader: batches of windows, reproducible from (seed, step) and prefetched."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from vla.data.batch import Batch
from vla.data.frame_cache import FrameCache, FrameSource
from vla.data.store import TrajectoryStore
from vla.data.windows import WindowSampler, WindowTable, pad_actions
from vla.errors import ConfigError


class WindowLoader:
    """Batches of training windows from one store.

    `batch(step)` depends on nothing but the arguments here and `step`; which windows a batch
    holds is described at `WindowSampler`. Threads, not processes, prefetch: decoding
    releases the GIL, and pictures need not cross a process border.

    Args:
        store: the demonstrations.
        history: T, observation steps that end at the present.
        horizon: H, action rows that begin at the present.
        batch_size: B.
        seed: decides the order, at least 0.
        episodes: numbers of the episodes to use, e.g. `store.split("train")`.
        threads: how many prefetch; 0 makes `iterate` work in the caller's thread.
        cache_bytes: keep decoded frames in memory up to this many bytes.

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
    ):
        sizes = {"history": history, "horizon": horizon, "batch_size": batch_size}
        for name, value in sizes.items():
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
        for name, value in {"seed": seed, "threads": threads, "cache_bytes": cache_bytes}.items():
            if value < 0:
                raise ConfigError(f"{name} is {value}; it must not be negative.")
        self.store = store
        self.batch_size = batch_size
        self._history = history
        self._horizon = horizon
        self._threads = threads
        self._table = WindowTable.build(store.episode_ends, np.asarray(episodes, np.int64))
        self._sampler = WindowSampler(len(self._table), batch_size, seed)
        self._frames: FrameSource = FrameCache(store, cache_bytes) if cache_bytes else store
        self._instructions = store.instructions

    def __len__(self) -> int:
        """How many windows there are; an epoch draws each once."""
        return len(self._table)

    def batch(self, step: int) -> Batch:
        """Batch number `step`, from 0. Raises DataError when a frame cannot be read."""
        return self.windows(self._sampler.draw(step))

    def windows(self, windows: NDArray[np.int64]) -> Batch:
        """The windows of these numbers (B,), 0 to `len(self)` - 1, as a batch."""
        store, table = self.store, self._table
        past = table.history(windows, self._history)
        rows, real = table.future(windows, self._horizon)
        action = store.column("action")[rows]
        pad_actions(action, real, store.embodiment.action)
        real &= store.has_action[table.episode[windows]][:, None]  # a film has none to imitate
        mask = np.repeat(real[:, :, None].astype(np.float32), action.shape[2], axis=2)
        present = table.present[windows]
        return Batch(
            images={name: self._images(name, past) for name in store.embodiment.cameras},
            state=torch.from_numpy(store.column("state")[past]),
            instruction=[self._instructions[n] for n in table.episode[windows].tolist()],
            actions=torch.from_numpy(action),
            mask=torch.from_numpy(mask),
            labels={
                name: torch.from_numpy(store.column(f"labels/{name}")[present])
                for name in store.labels
            },
        )

    def _images(self, camera: str, frames: NDArray[np.int64]) -> torch.Tensor:
        size = self.store.embodiment.cameras[camera]
        images = torch.empty((*frames.shape, size.height, size.width, 3), dtype=torch.uint8)
        flat = images.numpy().reshape(-1, size.height, size.width, 3)
        self._frames.read_frames(camera, frames.reshape(-1), flat)
        return images

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
