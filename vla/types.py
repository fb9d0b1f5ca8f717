"""The nouns: what flows between data, policies, worlds and robots.

Legend for shapes: T history steps, S state axes, A action axes, H horizon rows,
K committed and M tentative rows. Everything is NumPy; nothing here imports torch, so that a
robot's PC can use it. Units are SI, angles radians, time is seconds on one
monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.errors import ShapeError
from vla.pictures import LatePictures

Uint8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def check_array(
    what: str, value: Any, *, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> None:
    """Raise ShapeError unless `value` is an array of `dtype` and `shape` (None: any length)."""
    if not isinstance(value, np.ndarray):
        raise ShapeError(f"{what} is a {type(value).__name__}; give a NumPy array of {shape}.")
    if value.dtype != dtype:
        raise ShapeError(f"{what} has dtype {value.dtype}; it must be {np.dtype(dtype)}.")
    fits = value.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=False)
    )
    if not fits:
        raise ShapeError(f"{what} has shape {value.shape}; it must be {shape}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What a policy sees at one instant, newest step last.

    Attributes:
        images: per camera uint8 (T, H, W, 3), RGB, upright; LatePictures are checked by whoever
            draws them, not here, because looking would draw them.
        state: float32 (T, S), axes and units as `Embodiment.state` says.
        instruction: what to do, in plain words.
        time: capture time of the newest step, seconds on the monotonic clock.
        depth: per camera float32 (T, H, W) in metres; empty when there is none.
        pending: float32 (K, A), action rows already committed for times after `time`.
        tentative: float32 (M, A), the rows of the last plan behind `pending`: a policy that
            can shall stay near them, the first most of all, so that plans join without a
            jerk. They bind nobody.

    Raises:
        ShapeError: on a wrong shape, dtype, or a value that is not finite.
    """

    images: Mapping[str, Uint8]
    state: Float32
    instruction: str
    time: float
    depth: dict[str, Float32] = field(default_factory=dict)
    pending: Float32 | None = None
    tentative: Float32 | None = None

    def __post_init__(self) -> None:
        check_array("Observation.state", self.state, dtype=np.float32, shape=(None, None))
        steps = self.state.shape[0]
        late = isinstance(self.images, LatePictures)
        for name, image in () if late else self.images.items():
            check_array(f"image {name!r}", image, dtype=np.uint8, shape=(steps, None, None, 3))
        for name, depth in self.depth.items():
            check_array(f"depth {name!r}", depth, dtype=np.float32, shape=(steps, None, None))
        for what, rows in (("pending", self.pending), ("tentative", self.tentative)):
            if rows is not None:
                check_array(f"Observation.{what}", rows, dtype=np.float32, shape=(None, None))
                if not np.isfinite(rows).all():
                    raise ShapeError(f"Observation.{what} holds NaN or inf.")
        if not np.isfinite(self.state).all():
            raise ShapeError("Observation.state holds NaN or inf; a sensor is not to be trusted.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionChunk:
    """A plan: row k of `actions` is due at `time + k / hz`.

    Attributes:
        actions: float32 (H, A), axes and units as `Embodiment.action` says.
        time: capture time of the observation it was planned from, seconds.

    Raises:
        ShapeError: on a wrong shape or dtype, or no rows.
    """

    actions: Float32
    time: float

    def __post_init__(self) -> None:
        check_array("ActionChunk.actions", self.actions, dtype=np.float32, shape=(None, None))
        if self.actions.shape[0] == 0:
            raise ShapeError("ActionChunk.actions has no rows; a plan needs at least one.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an episode stands: `ended` says that further steps change nothing."""

    success: bool
    ended: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subtask:
    """A stretch of an episode with words of its own: steps `start` to before `stop`."""

    start: int
    stop: int
    text: str
    success: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """One recorded episode of N steps.

    Attributes:
        images: per camera uint8 (N, H, W, 3), or a list of N encoded JPEG files (bytes),
            which the store keeps byte for byte.
        state: float32 (N, S), read before the action of the same row was taken.
        action: float32 (N, A), what the demonstrator (or policy) asked for; None for a film
            without actions.
        instruction: the task in words.
        time: float64 (N,), when each row was recorded, seconds since the episode began.
        sent: float32 (N, A), the command that reached the body, after limits and filters;
            None when it was not recorded.
        captured: per camera float64 (N,), when each frame was exposed, on the clock of
            `time`; empty when unknown.
        depth: per camera uint16 (N, H, W), millimetres along the optical axis, 0 where there
            is no reading; aligned with the colour camera of the same name.
        subtasks: in order of their start; may overlap or leave gaps.
        success: what the demonstrator or the task said; None when nobody did.
        labels: auxiliary float32 (N, K) targets by name, e.g. where the named object is.
        source: provenance (file, episode id, seed, ...), JSON values only.

    Raises:
        ShapeError: on a wrong shape, dtype or length.
    """

    images: dict[str, Uint8 | list[bytes]]
    state: Float32
    action: Float32 | None
    instruction: str
    time: NDArray[np.float64]
    sent: Float32 | None = None
    captured: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    depth: dict[str, NDArray[np.uint16]] = field(default_factory=dict)
    subtasks: tuple[Subtask, ...] = ()
    success: bool | None = None
    labels: dict[str, Float32] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_array("Trajectory.state", self.state, dtype=np.float32, shape=(None, None))
        length = self.state.shape[0]
        if length == 0:
            raise ShapeError("Trajectory has no steps.")
        check_array("Trajectory.time", self.time, dtype=np.float64, shape=(length,))
        for what, rows in (("action", self.action), ("sent", self.sent)):
            if rows is not None:
                check_array(f"Trajectory.{what}", rows, dtype=np.float32, shape=(length, None))
        for name, label in self.labels.items():
            check_array(f"label {name!r}", label, dtype=np.float32, shape=(length, None))
        for name, times in self.captured.items():
            check_array(f"captured {name!r}", times, dtype=np.float64, shape=(length,))
        for name, depth in self.depth.items():
            check_array(f"depth {name!r}", depth, dtype=np.uint16, shape=(length, None, None))
        for name, frames in self.images.items():
            if isinstance(frames, np.ndarray):
                shape = (length, None, None, 3)
                check_array(f"image {name!r}", frames, dtype=np.uint8, shape=shape)
            elif len(frames) != length:
                raise ShapeError(f"image {name!r} has {len(frames)} frames for {length} steps.")
        for subtask in self.subtasks:
            if not 0 <= subtask.start < subtask.stop <= length:
                raise ShapeError(
                    f"Subtask {subtask.text!r} spans steps {subtask.start} to {subtask.stop}; "
                    f"the episode has {length}."
                )

    def __len__(self) -> int:
        return self.state.shape[0]
