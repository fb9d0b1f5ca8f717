"""Which action is due at a time, given the plans so far: the seam of every execution method.

An execution is pure bookkeeping: no clock, no process, no policy. The synchronous controller,
the asynchronous one and a simulated delay drive the same object, and a replay of a flight log
drives it again and gets the same numbers. Ensembling, cross-fading and the like are other
classes with the same five members.
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
    """Row of the newest plan that the last `row` came from; -1 before the first."""

    def reset(self) -> None:
        """Forget every plan."""
        ...

    def accept(self, chunk: ActionChunk) -> None:
        """Take a plan in; the caller has checked its numbers (see `admission`).

        Raises:
            ContractError: when it is not newer than the last one.
        """
        ...

    def row(self, time: float) -> Float32 | None:
        """The action (A,) float32 due at `time`, seconds; None when no plan reaches that far.

        Raises:
            ContractError: when `time` lies before the newest plan by more than half a row.
        """
        ...

    def ahead(self, time: float) -> Float32 | None:
        """Rows (R, A) of the newest plan due at `time`, one row later, ...; None without any."""
        ...


class PlanReader:
    """Reads one plan at a time: rows are chosen by time, never by a counter.

    Row k is for the tick at `chunk.time + k / hz`. When the loop misses a slot, the row of
    that slot is dropped and the plan stays where it was meant to be. A stream faster than the
    plans goes from row to row in a straight line: absolute axes by position, delta axes share
    a row's step out evenly.
    """

    def __init__(self, embodiment: Embodiment, *, hz: float = 0.0):
        """`embodiment.hz` is the rate of the rows, `hz` that of the stream; 0: the same."""
        self._hz = embodiment.hz
        self._share = embodiment.hz / hz if hz else 1.0
        self._delta = np.array([axis.mode == "delta" for axis in embodiment.action], bool)

    def read(self, chunk: ActionChunk, time: float) -> tuple[int, Float32] | None:
        """Number and values (A,) of the row due at `time`; None behind the last one.

        Raises:
            ContractError: when `time` lies before the plan by more than half a row.
        """
        place = (time - chunk.time) * self._hz
        index = round(place) if self._share == 1.0 else int(np.floor(place + 1e-6))
        if index < 0 and place < -0.5:
            raise ContractError(
                f"Observation time ran backwards: {time:.3f} s is before the plan's "
                f"{chunk.time:.3f} s. Reset the controller between episodes."
            )
        last, index = len(chunk.actions), max(index, 0)
        if index >= last:
            return None
        if self._share == 1.0:
            return index, chunk.actions[index]
        before, after = chunk.actions[index], chunk.actions[min(index + 1, last - 1)]
        part = np.float32(min(max(place - index, 0.0), 1.0))
        between = before + part * (after - before)
        share = before * np.float32(self._share)
        return index, np.where(self._delta, share, between).astype(np.float32)


class NewestChunk:
    """The newest plan alone; an older one is dropped as soon as it comes.

    Base of the executions that look at older plans too.
    """

    def __init__(self, embodiment: Embodiment, *, hz: float = 0.0):
        """Nothing is planned yet; see `PlanReader` for the arguments."""
        self._reader, self._hz = PlanReader(embodiment, hz=hz), embodiment.hz
        self.reset()

    def reset(self) -> None:
        """Forget the plan."""
        self._chunk: ActionChunk | None = None
        self.index = -1

    def accept(self, chunk: ActionChunk) -> None:
        """Replace the plan. See `ChunkExecution`."""
        if self._chunk is not None and not chunk.time > self._chunk.time:
            raise ContractError(
                f"A plan from {chunk.time:.3f} s came after one from {self._chunk.time:.3f} s; "
                "plans must come in the order of their observations."
            )
        self._chunk = chunk

    def row(self, time: float) -> Float32 | None:
        """See `ChunkExecution`."""
        found = None if self._chunk is None else self._reader.read(self._chunk, time)
        if found is None:
            return None
        self.index = found[0]
        return self._mix(found[1], time)

    def ahead(self, time: float) -> Float32 | None:
        """See `ChunkExecution`."""
        if self._chunk is None:
            return None
        rows = self._chunk.actions[max(round((time - self._chunk.time) * self._hz), 0) :]
        return rows if len(rows) else None

    def _mix(self, newest: Float32, time: float) -> Float32:
        """What becomes of the newest plan's action."""
        return newest


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
