"""The rows of one episode at a time, out of Parquet files that may hold many."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vla.data.convert.lerobot_folder import EpisodeEntry
from vla.errors import DataError


class RowReader:
    """Reads episodes in order; keeps the last file open and at most one run of rows in memory.

    Args:
        columns: to read; those a file lacks raise.
    """

    def __init__(self, columns: list[str]):
        self._columns = columns
        self._path: Path | None = None
        self._groups: tuple[int, ...] = ()

    def read(self, entry: EpisodeEntry) -> pa.Table:
        """The episode's rows, found by their episode_index.

        Raises:
            DataError: for a file or column that is missing or damaged, and when the number of
                rows is not the one that the episode list tells (a known fault of converters
                is to list an episode under the file before the one it went to).
        """
        try:
            if entry.table != self._path:
                self._open(entry.table)
            rows = np.flatnonzero(self._owners == entry.index)
            if len(rows) != entry.length or (np.diff(rows) != 1).any():
                raise DataError(
                    f"{entry.table} holds {len(rows)} rows of episode {entry.index}, the episode "
                    f"list says {entry.length}. Get the original of the set; conversions between "
                    "versions are known to mix this up."
                )
            return self._slice(int(rows[0]), int(rows[-1]) + 1)
        except (OSError, pa.ArrowException) as error:
            self._path = None
            raise DataError(f"{entry.table} cannot be read: {error}. Copy it anew.") from error

    def _open(self, path: Path) -> None:
        self._path, self._groups = None, ()
        self._file = pq.ParquetFile(path)
        names = self._file.schema_arrow.names
        lost = [name for name in [*self._columns, "episode_index"] if name not in names]
        if lost:
            raise DataError(
                f"{path} lacks the column(s) {', '.join(map(repr, lost))}; it has "
                f"{', '.join(names)}. Get the complete file."
            )
        self._owners = self._file.read(["episode_index"])["episode_index"].to_numpy()
        metadata = self._file.metadata
        counts = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._path = path

    def _slice(self, begin: int, end: int) -> pa.Table:
        """Rows begin to end; row groups that several episodes share are read once."""
        first = int(np.searchsorted(self._ends, begin, side="right"))
        last = int(np.searchsorted(self._ends, end, side="left"))
        groups = tuple(range(first, last + 1))
        if groups != self._groups:
            self._table = self._file.read_row_groups(list(groups), columns=self._columns)
            self._groups = groups
        offset = int(self._ends[first - 1]) if first else 0
        return self._table.slice(begin - offset, end - begin)


def read_matrix(table: pa.Table, name: str, width: int) -> NDArray[Any]:
    """A column of numbers or of lists of them as (N, width).

    Raises:
        DataError: when an entry is missing or has another width.
    """
    column = table[name]
    if isinstance(column.type, pa.ListType | pa.FixedSizeListType | pa.LargeListType):
        widths = set(pc.list_value_length(column).unique().to_pylist())
        column = pc.list_flatten(column)
    else:
        widths = {1}
    if widths != {width} or column.null_count:
        raise DataError(
            f"Column {name!r} should hold {width} numbers in every row; it holds "
            f"{sorted(map(str, widths))}, {column.null_count} of them missing."
        )
    return column.to_numpy().reshape(len(table), width)
