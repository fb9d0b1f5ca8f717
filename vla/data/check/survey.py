"""What the checks look at: every number of a store, and a sample of its pictures.

Numbers are views of the store's columns. Of the pictures, all payloads are compared with
their predecessor as bytes, which needs no decoding; a few frames an episode are decoded
and kept as thumbnails.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.manifest import EpisodeRecord
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Embodiment
from vla.errors import UnknownChoice
from vla.types import Float32, Uint8

THUMBNAIL = 16
WHITE = 250
"""Grey level from which a colour channel counts as saturated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Glimpse:
    """What was seen of one camera in one episode.

    Attributes:
        steps: which were decoded, int64 (k,).
        thumbnails: float32 (k, 16, 16, 3), 0 to 255, each pixel the mean of a patch.
        contrast: float32 (k,), standard deviation of all values of the full frame.
        white: float32 (k,), share of pixels saturated in all three channels.
        repeats: bool (N,), whether a frame's payload equals the one before; over all steps.
    """

    steps: NDArray[np.int64]
    thumbnails: Float32
    contrast: Float32
    white: Float32
    repeats: NDArray[np.bool_]

    @property
    def mean(self) -> Float32:
        """Mean thumbnail, float32 (16, 16, 3)."""
        return self.thumbnails.mean(axis=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One episode's numbers, as they are stored.

    Attributes:
        index: its number in the store.
        record: its line in the manifest.
        state: float32 (N, S).
        action: float32 (N, A); None for a film without actions.
        time: float64 (N,), seconds.
        captured: per camera float64 (N,), on the same clock; empty when unknown.
        glimpses: by camera.
    """

    index: int
    record: EpisodeRecord
    state: Float32
    action: Float32 | None
    time: NDArray[np.float64]
    captured: dict[str, NDArray[np.float64]]
    glimpses: dict[str, Glimpse] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.state)

    def is_finite(self) -> bool:
        """Whether states and actions are numbers throughout."""
        values = [self.state] if self.action is None else [self.state, self.action]
        return all(bool(np.isfinite(rows).all()) for rows in values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """A whole store, ready to be checked.

    Attributes:
        embodiment: what the numbers should mean.
        episodes: all of them, in order.
        decoded: frames decoded per camera and episode, at most.
    """

    embodiment: Embodiment
    episodes: list[Episode]
    decoded: int

    @property
    def usable(self) -> list[Episode]:
        """Episodes without NaN and infinity: what can be compared."""
        return [episode for episode in self.episodes if episode.is_finite()]

    def vectors(self, what: str) -> tuple[tuple[Axis, ...], list[tuple[Episode, Float32]]]:
        """Axes of "state" or "action", and the rows of each usable episode that has them."""
        rows = [(episode, getattr(episode, what)) for episode in self.usable]
        axes = self.embodiment.state if what == "state" else self.embodiment.action
        return axes, [(episode, values) for episode, values in rows if values is not None]


def survey_store(
    store: TrajectoryStore, *, frames: int, progress: Callable[[int, int], None] | None = None
) -> Survey:
    """Read a store for the checks.

    Args:
        store: what to look at.
        frames: decoded per episode and camera, evenly spread; 0 leaves pictures alone.
        progress: told (episodes done, episodes in all).

    Raises:
        DataError: when a file is missing or damaged.
    """
    columns = {key: store.column(key) for key in ("state", "action", "time")}
    captured = {name: _find_column(store, f"captured/{name}") for name in store.embodiment.cameras}
    episodes = []
    for index, (record, end) in enumerate(zip(store.records, store.episode_ends, strict=True)):
        rows = slice(int(end) - record.length, int(end))
        # A film's rows of the action column are zeros, not actions.
        acts = getattr(record, "has_action", True)
        glimpses = {}
        if frames:
            glimpses = {name: _glimpse(store, name, rows, frames) for name in captured}
        episodes.append(
            Episode(
                index=index,
                record=record,
                state=columns["state"][rows],
                action=columns["action"][rows] if acts else None,
                time=columns["time"][rows],
                captured={name: v[rows] for name, v in captured.items() if v is not None},
                glimpses=glimpses,
            )
        )
        if progress is not None:
            progress(index + 1, store.num_episodes)
    return Survey(embodiment=store.embodiment, episodes=episodes, decoded=frames)


def _find_column(store: TrajectoryStore, key: str) -> NDArray[Any] | None:
    """An optional column; None when the store has not got it."""
    try:
        return store.column(key)
    except UnknownChoice:
        return None


def _glimpse(store: TrajectoryStore, camera: str, rows: slice, count: int) -> Glimpse:
    length = rows.stop - rows.start
    repeats = np.zeros(length, bool)
    previous = b""
    for step in range(length):
        payload = store.read_payload(camera, rows.start + step)
        repeats[step] = payload == previous
        previous = payload
    steps = np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(np.int64))
    pictures = store.read_frames(camera, rows.start + steps)
    return Glimpse(
        steps=steps,
        thumbnails=shrink(pictures),
        contrast=pictures.std(axis=(1, 2, 3), dtype=np.float32),
        white=(pictures >= WHITE).all(axis=3).mean(axis=(1, 2), dtype=np.float32),
        repeats=repeats,
    )


def shrink(pictures: Uint8) -> Float32:
    """Means over a grid of patches: (k, H, W, 3) to float32 (k, 16, 16, 3)."""
    height, width = pictures.shape[1:3]
    rows = np.linspace(0, height, THUMBNAIL, endpoint=False).astype(int)
    columns = np.linspace(0, width, THUMBNAIL, endpoint=False).astype(int)
    if min(height, width) < THUMBNAIL:  # too small for patches: repeat pixels instead
        return pictures[:, rows][:, :, columns].astype(np.float32)
    sums = np.add.reduceat(pictures.astype(np.float32), rows, axis=1)
    sums = np.add.reduceat(sums, columns, axis=2)
    sizes = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    return sums / sizes[None, :, :, None].astype(np.float32)
