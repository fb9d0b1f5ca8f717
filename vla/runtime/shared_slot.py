"""One record in shared memory with one writer and many readers, without locks (a seqlock).

The writer makes the sequence number odd, writes, and makes it even; a reader takes its
copy only when the number was even and did not change meanwhile. A reader can never hold
the writer up. It relies on stores becoming visible in order, as they do on x86-64; on
other processors a torn copy could, very rarely, pass for a whole one.
"""

import time
from multiprocessing import shared_memory

import numpy as np

from vla.errors import RobotError

TRIES = 200
QUICK_TRIES = 4
PAUSE = 50e-6


class SharedSlot:
    """The record; create it without `name`, attach to it with the creator's."""

    def __init__(self, fields: list[tuple], *, name: str | None = None):
        dtype = np.dtype([("seq", "<u8"), *fields])
        self._owner = name is None
        self._memory = shared_memory.SharedMemory(
            name=name, create=self._owner, size=dtype.itemsize if self._owner else 0
        )
        self._row = np.frombuffer(self._memory.buf, dtype, count=1)
        if self._owner:
            self._row["seq"] = 0
        self.name = self._memory.name

    def repair(self) -> None:
        """Make a record whole that an earlier writer left half written; for the new writer only.

        Its content is whatever was there: write it anew before anybody may believe it.
        """
        if int(self._row["seq"][0]) % 2:
            self._row["seq"] += 1

    def write(self, **values: object) -> None:
        """Replace the named fields; the others keep their values."""
        self._row["seq"] += 1
        for key, value in values.items():
            self._row[key][0] = value
        self._row["seq"] += 1

    def read(self) -> np.void | None:
        """A whole copy of the record; None before the first write.

        Raises:
            RobotError: when no whole copy can be had: the writer died while writing.
        """
        for _ in range(TRIES):
            before = int(self._row["seq"][0])
            if before == 0:
                return None
            if before % 2 == 0:
                copy = self._row.copy()
                if int(self._row["seq"][0]) == before:
                    return copy[0]
            time.sleep(PAUSE)
        raise RobotError("A record in shared memory stays half written; its writer has died.")

    def peek(self) -> np.void | None:
        """A whole copy, or None when there is none at once; never waits, for the control loop."""
        for _ in range(QUICK_TRIES):
            before = int(self._row["seq"][0])
            if before and before % 2 == 0:
                copy = self._row.copy()
                if int(self._row["seq"][0]) == before:
                    return copy[0]
        return None

    @property
    def sequence(self) -> int:
        """Changes with every write: whether reading is worth while."""
        return int(self._row["seq"][0])

    def close(self) -> None:
        """Detach; the creator also removes it. Idempotent."""
        if self._row is None:
            return
        self._row = None
        self._memory.close()
        if self._owner:
            self._memory.unlink()
