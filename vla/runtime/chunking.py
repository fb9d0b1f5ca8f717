"""Which action is due at a time, given the plans so far: the seam of every execution method.

An execution is pure bookkeeping: no clock, no process, no policy. The synchronous controller,
the asynchronous one and a simulated delay drive the same object, and a replay of a flight log
drives it again and gets the same numbers. Ensembling, cross-fading and the like are other
classes with the same four members.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import ContractError
from vla.types import ActionChunk, Float32


@runtime_checkable
class ChunkExecution(Protocol):
    """Turns plans into the action due at a time."""

    index: int
    """Row of the plan that the last `row` came from; -1 before the first."""

    def reset(self) -> None:
        """Forget every plan."""
        ...

    def accept(self, chunk: ActionChunk) -> None:
        """Take a plan in; the caller has checked it (see `admission`)."""
        ...

    def row(self, time: float) -> Float32 | None:
        """The action (A,) float32 due at `time`, seconds; None when no plan reaches that far.

        Raises:
            ContractError: when `time` lies before the plan by more than half a row.
        """
        ...


class NewestChunk:
    """The newest plan alone; an older one is dropped as soon as it comes.

    Rows are chosen by time, never by a counter: row k is for the tick at `chunk.time + k / hz`.
    When the loop misses a slot, the row of that slot is dropped and the plan stays where it
    was meant to be. A stream faster than the plans goes from row to row in a straight line:
    absolute axes by position, delta axes share a row's step out evenly.
    """

    def __init__(self, embodiment: Embodiment, *, rows: int | None = None, hz: float = 0.0):
        """Nothing is planned yet.

        Args:
            embodiment: the policy's; its `hz` is the rate of the rows.
            rows: use this many rows of a plan at most; None: all.
            hz: rate of the stream, ticks per second; 0: that of the rows.
        """
        self._hz, self._rows = embodiment.hz, rows
        self._share = embodiment.hz / hz if hz else 1.0
        self._delta = np.array([axis.mode == "delta" for axis in embodiment.action], bool)
        self.reset()

    def reset(self) -> None:
        """Forget the plan."""
        self._chunk: ActionChunk | None = None
        self.index = -1

    def accept(self, chunk: ActionChunk) -> None:
        """Replace the plan."""
        self._chunk = chunk

    def row(self, time: float) -> Float32 | None:
        """See `ChunkExecution`."""
        chunk = self._chunk
        if chunk is None:
            return None
        place = (time - chunk.time) * self._hz
        index = round(place) if self._share == 1.0 else int(np.floor(place + 1e-6))
        if index < 0 and place < -0.5:
            raise ContractError(
                f"Observation time ran backwards: {time:.3f} s is before the plan's "
                f"{chunk.time:.3f} s. Reset the controller between episodes."
            )
        last = len(chunk.actions) if self._rows is None else min(self._rows, len(chunk.actions))
        index = max(index, 0)
        if index >= last:
            return None
        self.index = index
        if self._share == 1.0:
            return chunk.actions[index]
        before, after = chunk.actions[index], chunk.actions[min(index + 1, last - 1)]
        part = np.float32(min(max(place - index, 0.0), 1.0))
        between = before + part * (after - before)
        return np.where(self._delta, before * np.float32(self._share), between).astype(np.float32)


def admission(
    chunk: ActionChunk, *, embodiment: Embodiment, newer_than: float, now: float, max_age: float
) -> str:
    """Why a plan must not be used, in a word; "" when it may be.

    A plan is refused whole: rows of a broken plan that happen to look right are no better.

    Args:
        chunk: the plan.
        embodiment: the policy's.
        newer_than: time of the last plan that was admitted; -inf before the first.
        now: seconds on the clock of `chunk.time`.
        max_age: oldest observation that a plan may rest on, seconds.

    Returns:
        "shape", "not_finite", "bounds" (further outside an axis' bounds than their width, for
        which no rounding or overshoot is an excuse), "old", "future", "not_newer", or "".
    """
    actions = chunk.actions
    if actions.shape[1] != len(embodiment.action):
        return "shape"
    if not np.isfinite(actions).all():
        return "not_finite"
    low = np.array([axis.low for axis in embodiment.action])
    high = np.array([axis.high for axis in embodiment.action])
    width = high - low
    if ((actions < low - width) | (actions > high + width)).any():
        return "bounds"
    if not chunk.time > newer_than:
        return "not_newer"
    if chunk.time > now:
        return "future"
    return "old" if now - chunk.time > max_age else ""
