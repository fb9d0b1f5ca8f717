"""HDF5 files: found in order, opened one at a time, their failures told as DataError."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla.data.convert.arrays import numeric_order
from vla.errors import DataError

SUFFIXES = (".hdf5", ".h5")


def list_hdf5(path: str | Path) -> list[Path]:
    """The file itself, or the HDF5 files of a folder in the order of the numbers in their names.

    Raises:
        DataError: when there is none.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    found = {p.name: p for p in root.glob("*") if p.suffix in SUFFIXES and p.is_file()}
    if not found:
        raise DataError(f"{root} is no HDF5 file and no folder with *{' or *'.join(SUFFIXES)}.")
    return [found[name] for name in numeric_order(sorted(found))]


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open for reading; whatever HDF5 complains about inside the block becomes a DataError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:  # h5py raises both for damaged content
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"{path} cannot be read: {reason}. Copy or download it anew.") from error
