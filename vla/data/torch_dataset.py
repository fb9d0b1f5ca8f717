"""Windows for torch's own DataLoader, for those whose training code is built around it.

    dataset = WindowDataset(store, history=2, horizon=16, episodes=store.split("train"))
    for batch in load_with_workers(dataset, batch_size=32, seed=0, workers=2):

The batches are those of `WindowLoader` with the same sizes and seed. That one is simpler and
quicker to start: its threads share one memory, and decoding does not hold Python's lock.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from vla.data.batch import Batch
from vla.data.shared_images import Shape, SharedImages
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
        return self.read(windows)

    def read(self, windows: list[int], allocate: Callable[[Shape], Tensor] | None = None) -> Batch:
        """Likewise, with pictures in the memory that `allocate` gives."""
        return self._reader.read(np.asarray(windows, np.int64), allocate)

    def image_shapes(self, batch_size: int) -> dict[str, Shape]:
        """Of a batch's pictures, per camera, in the order they are read."""
        return self._reader.image_shapes(batch_size)


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
) -> Iterator[Batch]:
    """Batches from torch's DataLoader, without end: the k-th is that of `start_step` + k.

    Pictures come in shared memory that is used again once a batch and all views of it are
    gone. Closing the iterator ends the workers.

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
    shared = None
    if workers:
        # Two are prepared ahead, one is on its way, and the caller may hold two.
        shapes = dataset.image_shapes(batch_size)
        shared = SharedImages(workers=workers, slots=5, shapes=shapes)
    loader = DataLoader(
        _Filling(dataset, shared),
        batch_sampler=WindowBatches(len(dataset), batch_size, seed, start_step),
        num_workers=workers,
        collate_fn=_keep,
        multiprocessing_context=context if workers else None,
    )
    return _deliver(loader, shared, pin_memory and torch.cuda.is_available())


Parcel = tuple[int | None, Batch]
"""A batch without its pictures, and the slot they lie in; or a whole batch and None."""


class _Filling(Dataset[Parcel]):
    """Reads windows where the parent process finds them."""

    def __init__(self, dataset: WindowDataset, shared: SharedImages | None):
        self._dataset = dataset
        self._shared = shared

    def __getitems__(self, windows: list[int]) -> Parcel:
        info = get_worker_info()
        slot = None if info is None or self._shared is None else self._shared.take(info.id)
        if self._shared is None or slot is None:
            return None, self._dataset.__getitems__(windows)
        batch = self._dataset.read(windows, self._shared.allocator(slot))
        return slot, replace(batch, images={})


def _keep(parcel: Any) -> Any:
    return parcel


def _deliver(loader: DataLoader[Parcel], shared: SharedImages | None, pin: bool) -> Iterator[Batch]:
    for slot, part in loader:
        batch = part
        if shared is not None and slot is not None:
            batch = replace(part, images=shared.collect(slot))
        yield batch.pin_memory() if pin else batch
        del batch  # else its slot stays taken while the next one is waited for
