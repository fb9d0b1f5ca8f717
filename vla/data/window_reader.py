"""Windows of a store by number, as batches."""

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla.data.batch import Batch
from vla.data.frame_cache import FrameCache, FrameSource
from vla.data.store import TrajectoryStore
from vla.data.windows import WindowTable, pad_actions
from vla.errors import ConfigError


class ImageMemory(threading.local):
    """Memory for pictures that is used again once nobody holds what was put there.

    Fresh pages cost: the kernel clears and maps them, a tenth of the decoding time (measured:
    1280 windows per CPU second with fresh memory, 1380 with this). Each thread has its own, so
    that none waits; only so much is kept, so that a caller may keep batches without limit.
    """

    KEPT = 8
    """Arrays of one shape, per thread."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Memory uint8 of `shape` with whatever was in it."""
        arrays = self._arrays.setdefault(shape, [])
        for array in arrays:
            # The list, the loop and the call hold it; a tensor or a view of one would be a fourth.
            if sys.getrefcount(array) <= 3:
                return torch.from_numpy(array)
        # From numpy, which asks the kernel for huge pages; torch takes 4 kB ones.
        array = np.empty(shape, np.uint8)
        if len(arrays) < self.KEPT:
            arrays.append(array)
        return torch.from_numpy(array)


def allocate_pinned(shape: tuple[int, ...]) -> Tensor:
    """Likewise, in page-locked memory that a GPU copies from by itself; needs CUDA."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=True)


class WindowReader:
    """Windows of one store by number, as batches; knows nothing of order.

    Args:
        store: the demonstrations.
        history: T, observation steps that end at the present.
        horizon: H, action rows that begin at the present.
        episodes: numbers of the episodes to use, e.g. `store.split("train")`.
        cameras: which of them to read; all of them without it.
        cache_bytes: keep decoded frames in memory up to this many bytes.
        plans: the subtask of the present step is the batch's `reply`.

    Raises:
        ConfigError: for sizes below 1. DataError: when no episode is given.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        history: int,
        horizon: int,
        episodes: NDArray[np.int64],
        cameras: Sequence[str] | None = None,
        cache_bytes: int = 0,
        plans: bool = False,
    ):
        check_at_least(1, history=history, horizon=horizon)
        check_at_least(0, cache_bytes=cache_bytes)
        self.store = store
        self._history = history
        self._horizon = horizon
        self._episodes = np.asarray(episodes, np.int64)
        self._cameras = list(store.embodiment.cameras if cameras is None else cameras)
        self._cache_bytes = cache_bytes
        self._subtasks = [record.subtasks for record in store.records] if plans else None
        self._table = WindowTable.build(store.episode_ends, self._episodes)
        self._frames: FrameSource = FrameCache(store, cache_bytes) if cache_bytes else store
        self._instructions = store.instructions
        self._memory = ImageMemory()

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"history": self._history, "horizon": self._horizon}
        options |= {"episodes": self._episodes, "cameras": self._cameras}
        options |= {"cache_bytes": self._cache_bytes, "plans": self._subtasks is not None}
        return partial(WindowReader, self.store, **options), ()  # the cache's content stays here

    def __len__(self) -> int:
        """How many windows there are, W."""
        return len(self._table)

    def image_shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        """(B, T, H, W, 3) per camera, for batches of `count` windows."""
        sizes = {name: self.store.embodiment.cameras[name] for name in self._cameras}
        return {name: (count, self._history, c.height, c.width, 3) for name, c in sizes.items()}

    def read(
        self,
        windows: NDArray[np.int64],
        allocate: Callable[[tuple[int, ...]], Tensor] | None = None,
    ) -> Batch:
        """The windows of these numbers (B,), 0 to W - 1, as a batch.

        Args:
            windows: their numbers, in any order.
            allocate: gives the memory of one camera's images; by default an `ImageMemory`.

        Raises:
            DataError: when a frame cannot be read.
        """
        store, table = self.store, self._table
        past = table.history(windows, self._history)
        rows, real = table.future(windows, self._horizon)
        action = store.column("action")[rows]
        pad_actions(action, real, store.embodiment.action)
        real &= store.has_action[table.episode[windows]][:, None]  # a film has none to imitate
        mask = np.repeat(real[:, :, None].astype(np.float32), action.shape[2], axis=2)
        present = table.present[windows]
        images, allocate = {}, allocate or self._memory
        for name, shape in self.image_shapes(len(windows)).items():
            images[name] = allocate(shape)
            flat = images[name].numpy().reshape(-1, *shape[2:])
            self._frames.read_frames(name, past.reshape(-1), flat)
        return Batch(
            images=images,
            state=torch.from_numpy(store.column("state")[past]),
            instruction=[self._instructions[n] for n in table.episode[windows].tolist()],
            actions=torch.from_numpy(action),
            mask=torch.from_numpy(mask),
            labels={
                name: torch.from_numpy(store.column(f"labels/{name}")[present])
                for name in store.labels
            },
            reply=self._read_plans(windows),
        )

    def _read_plans(self, windows: NDArray[np.int64]) -> list[str] | None:
        """The subtask of each window's present step, "" between two; None unless asked for."""
        if self._subtasks is None:
            return None
        table = self._table
        steps = table.present[windows] - table.start[windows]
        plans = []
        for episode, step in zip(table.episode[windows].tolist(), steps.tolist(), strict=True):
            texts = [t.text for t in self._subtasks[episode] if t.start <= step < t.stop]
            plans.append("; ".join(texts))
        return plans


def check_at_least(least: int, **values: int) -> None:
    """Raise ConfigError naming the first value that is below `least`."""
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least}.")
