"""The plans of a flight, beside its log: with both, every command can be computed again.

File: a stream of records, each one a fixed header and its rows, written with one call, so that
what a killed process leaves behind is whole records and at most one that is cut off.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla.errors import DataError
from vla.types import ActionChunk

HEADER = np.dtype([("index", "<i4"), ("rows", "<u4"), ("axes", "<u4"), ("time", "<f8")])


def plan_path(log: Path) -> Path:
    """Where the plans of the flight log `log` lie."""
    return log.with_suffix(".plans")


class PlanLog:
    """Writer; a context manager."""

    def __init__(self, path: Path):
        """Raises DataError when the file exists or cannot be made."""
        self.path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except OSError as error:
            raise DataError(f"Plan log {path} cannot be made: {error.strerror}.") from error

    def append(self, index: int, chunk: ActionChunk) -> None:
        """Write plan number `index`. Raises DataError when the disk is full."""
        head = np.zeros(1, HEADER)
        head[0] = (index, *chunk.actions.shape, chunk.time)
        record = head.tobytes() + np.ascontiguousarray(chunk.actions, "<f4").tobytes()
        try:
            written = os.write(self._file, record)
        except OSError as error:
            raise DataError(f"Plan log {self.path}: {error.strerror}.") from error
        if written != len(record):
            raise DataError(f"Plan log {self.path}: no space left. Free some disk space.")

    def close(self) -> None:
        """Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass(frozen=True, slots=True)
class LoggedPlan:
    """One plan and its number in the flight."""

    index: int
    chunk: ActionChunk


def read_plans(path: Path) -> list[LoggedPlan]:
    """All whole records. Raises DataError when the file cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Plan log {path} cannot be read: {error.strerror}.") from error
    plans, place = [], 0
    while place + HEADER.itemsize <= len(content):
        head = np.frombuffer(content, HEADER, count=1, offset=place)[0]
        place += HEADER.itemsize
        count = int(head["rows"]) * int(head["axes"])
        if place + 4 * count > len(content):
            break
        rows = np.frombuffer(content, "<f4", count=count, offset=place)
        actions = rows.reshape(int(head["rows"]), int(head["axes"])).copy()
        chunk = ActionChunk(actions=actions, time=float(head["time"]))
        plans.append(LoggedPlan(int(head["index"]), chunk))
        place += 4 * count
    return plans
