"""Windows of a store by number, as batches."""

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


def allocate_images(shape: tuple[int, ...]) -> Tensor:
    """Uninitialised uint8 memory.

    From numpy, which asks the kernel for huge pages: torch's allocator takes 4 kB pages and
    spends a tenth of the decoding time on page faults (measured on Linux, 2 x 64 frames of
    224 px: 7.8 ms against 0.6 ms).
    """
    return torch.from_numpy(np.empty(shape, np.uint8))


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
    ):
        check_at_least(1, history=history, horizon=horizon)
        check_at_least(0, cache_bytes=cache_bytes)
        self.store = store
        self._history = history
        self._horizon = horizon
        self._episodes = np.asarray(episodes, np.int64)
        self._cameras = list(store.embodiment.cameras if cameras is None else cameras)
        self._cache_bytes = cache_bytes
        self._table = WindowTable.build(store.episode_ends, self._episodes)
        self._frames: FrameSource = FrameCache(store, cache_bytes) if cache_bytes else store
        self._instructions = store.instructions

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"history": self._history, "horizon": self._horizon}
        options |= {"episodes": self._episodes, "cameras": self._cameras}
        options |= {"cache_bytes": self._cache_bytes}
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
        allocate: Callable[[tuple[int, ...]], Tensor] = allocate_images,
    ) -> Batch:
        """The windows of these numbers (B,), 0 to W - 1, as a batch.

        Args:
            windows: their numbers, in any order.
            allocate: gives the memory of one camera's images.

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
        images = {}
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
        )


def check_at_least(least: int, **values: int) -> None:
    """Raise ConfigError naming the first value that is below `least`."""
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least}.")
