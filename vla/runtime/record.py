"""The flight log: one fixed-size record per control tick, readable after a kill -9.

File: 8 bytes magic, 8 bytes header length, a JSON header, padding to `PAGE`, then records
of one NumPy dtype in a shared memory map. A record's `seq` is written last, so a record
that was being written when the process died reads as absent. The map survives the death
of the process, not a power cut: nothing is synced inside the loop. Space is reserved when
the file grows, so a full disk raises an error instead of killing the loop with a signal.
"""

import json
import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.runtime.states import STATES

MAGIC = b"VLALOG03"
PAGE = 4096
GROWTH = 4096
"""Records reserved at a time; 4096 are 3.4 minutes at 20 Hz."""


def tick_dtype(embodiment: Embodiment) -> np.dtype:
    """The record of one tick; times are seconds on the monotonic clock.

    Fields: seq (1, 2, ...; 0: empty), time (command handed to the robot), deadline and
    lateness of the slot, missed (slots skipped before it), mode (see `states.State`), state
    (S,) and state_time (its capture), image_time (capture of the oldest picture), frame (C,)
    (running number of each camera's picture) and captured (C,) (its capture), due (time that
    the controller made the command for; 0: unknown), age (of state or pictures) and plan_age
    as the gate saw them, wanted (A,) the controller's command, gated (A,) what the gate made
    of it, sent (A,) what the robot took, cause (index into the header's `causes`; 0: let
    through), latched, abrupt, resumed (an operator let a hold end before it), chunk and row of
    the plan (-1: unknown), io_time (seconds inside the driver).
    """
    states, actions = len(embodiment.state), len(embodiment.action)
    cameras = len(embodiment.cameras)
    return np.dtype(
        [
            ("seq", "<u8"),
            ("time", "<f8"),
            ("deadline", "<f8"),
            ("lateness", "<f8"),
            ("state_time", "<f8"),
            ("image_time", "<f8"),
            ("due", "<f8"),
            ("age", "<f8"),
            ("plan_age", "<f8"),
            ("captured", "<f8", (cameras,)),
            ("frame", "<u4", (cameras,)),
            ("io_time", "<f4"),
            ("missed", "<u4"),
            ("chunk", "<i4"),
            ("row", "<i4"),
            ("mode", "u1"),
            ("cause", "u1"),
            ("latched", "?"),
            ("abrupt", "?"),
            ("resumed", "?"),
            ("state", "<f4", (states,)),
            ("wanted", "<f4", (actions,)),
            ("gated", "<f4", (actions,)),
            ("sent", "<f4", (actions,)),
        ]
    )


class FlightLog:
    """Writer of one log; not for several threads."""

    def __init__(
        self,
        path: Path,
        *,
        embodiment: Embodiment,
        causes: Sequence[str],
        facts: dict[str, Any] | None = None,
    ):
        """Create the file.

        Args:
            path: must not exist; a log is never overwritten.
            embodiment: gives the sizes of the records; kept in the header with its hash.
            causes: name of each refusal code, from 0 ("NONE") on.
            facts: JSON values for the header: weights hash, configuration, instruction, ...

        Raises:
            DataError: when the file exists or cannot be made.
        """
        self.path = Path(path)
        self._dtype = tick_dtype(embodiment)
        header = {
            "embodiment": embodiment.to_json(),
            "hash": embodiment.hash,
            "causes": list(causes),
            "states": list(STATES),
            "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "monotonic": time.monotonic(),
            "facts": facts or {},
        }
        text = json.dumps(header).encode()
        head = MAGIC + len(text).to_bytes(8, "little") + text
        self._offset = -(-len(head) // PAGE) * PAGE
        self._count = self._capacity = 0
        self._notes: dict[str, Any] = {}
        self._map: mmap.mmap | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise DataError(f"Flight log {self.path} cannot be made: {error.strerror}.") from error
        try:
            os.write(self._file, head)
            self._grow()
        except DataError:
            os.close(self._file)
            raise

    def __len__(self) -> int:
        return self._count

    def note(self, **fields: Any) -> None:
        """Set fields of the next record ahead of `append` (the plan's chunk and row)."""
        self._notes.update(fields)

    def append(self, **fields: Any) -> None:
        """Write one record; fields as in `tick_dtype`, absent ones are 0.

        Raises:
            DataError: when the disk is full or the log is closed.
        """
        if self._map is None:
            raise DataError(f"Flight log {self.path} is closed.")
        if self._count == self._capacity:
            self._grow()
        row = self._rows[self._count]
        for name, value in {"chunk": -1, "row": -1, **self._notes, **fields}.items():
            row[name] = value
        self._count += 1
        row["seq"] = self._count
        self._notes.clear()

    def close(self) -> None:
        """Cut the reserved space off and sync; idempotent."""
        if self._map is None:
            return
        del self._rows
        self._map.close()
        self._map = None
        os.ftruncate(self._file, self._offset + self._count * self._dtype.itemsize)
        os.fsync(self._file)
        os.close(self._file)

    def _grow(self) -> None:
        """Reserve `GROWTH` more records and map them."""
        capacity = self._capacity + GROWTH
        size = self._offset + capacity * self._dtype.itemsize
        try:
            os.posix_fallocate(self._file, 0, size)
        except OSError as error:
            raise DataError(
                f"Flight log {self.path} cannot grow to {size / 1e6:.1f} MB: {error.strerror}. "
                "Free some disk space."
            ) from error
        if self._map is not None:
            del self._rows
            self._map.close()
        self._map = mmap.mmap(self._file, size)
        self._capacity = capacity
        self._rows = np.frombuffer(self._map, self._dtype, count=capacity, offset=self._offset)


@dataclass(frozen=True, kw_only=True, slots=True)
class Flight:
    """A log that was read: its header, and its ticks as a structured array (see `tick_dtype`)."""

    header: dict[str, Any]
    ticks: np.ndarray = field(repr=False)

    @property
    def embodiment(self) -> Embodiment:
        """The body that flew."""
        return Embodiment.from_json(self.header["embodiment"])


def read_flight(path: Path) -> Flight:
    """Read a log, whether it was closed or its writer was killed.

    Raises:
        DataError: when it is missing, or no flight log.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"Flight log {path} cannot be read: {error.strerror}.") from error
    length = int.from_bytes(content[8:16], "little")
    if content[:8] != MAGIC or len(content) < 16 + length:
        raise DataError(f"{path} is no flight log (it does not begin with {MAGIC.decode()}).")
    header = json.loads(content[16 : 16 + length])
    dtype = tick_dtype(Embodiment.from_json(header["embodiment"]))
    body = content[-(-(16 + length) // PAGE) * PAGE :]
    rows = np.frombuffer(body, dtype, count=len(body) // dtype.itemsize)
    whole = rows["seq"] == np.arange(1, len(rows) + 1)
    end = len(rows) if whole.all() else int(np.argmin(whole))
    return Flight(header=header, ticks=rows[:end])
