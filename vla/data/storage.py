"""Where a store's files lie: bytes by name, read whole or in part.

A name is a path below the store's root, its parts joined by "/". Stores in buckets and on
web servers are read through `remote_storage`; only a local folder can be written to.
"""

import os
import resource
import weakref
from pathlib import Path
from typing import Protocol

from vla.errors import ConfigError, DataError

Range = tuple[int, int]
"""(offset, count) in bytes."""


class Storage(Protocol):
    """Read-only files. Every method raises DataError, naming the file, when it cannot deliver.

    `str()` of it is the location, for messages.
    """

    def read(self, name: str, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, never fewer."""
        ...

    def read_ranges(self, name: str, ranges: list[Range]) -> list[bytes]:
        """Several parts of one file, in as few requests as it takes."""
        ...

    def read_all(self, name: str) -> bytes:
        """The whole file."""
        ...

    def size(self, name: str) -> int:
        """Its length in bytes."""
        ...


class LocalStorage:
    """A folder. Files read in part stay open, up to a share of the limit on descriptors.

    `pread` has no file position, so the descriptors are safe to share between threads and
    with forked children. Nothing is evicted: past the share a file is opened for one read.
    """

    def __init__(self, root: Path):
        self.root = root
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._capacity = max(8, min(soft // 4, 4096))
        self._open: dict[str, int] = {}
        weakref.finalize(self, _close_all, self._open)

    def __str__(self) -> str:
        return str(self.root)

    def read(self, name: str, offset: int, count: int) -> bytes:
        """As `Storage.read`."""
        try:
            descriptor = self._open.get(name)
            if descriptor is not None:
                data = os.pread(descriptor, count, offset)
            else:
                data = self._read_new(name, offset, count)
        except OSError as error:
            raise self._explain(name, error) from error
        if len(data) != count:
            raise DataError(f"{self.root / name} ends early: {count} bytes wanted at {offset}.")
        return data

    def read_ranges(self, name: str, ranges: list[Range]) -> list[bytes]:
        """As `Storage.read_ranges`: one `pread` each."""
        return [self.read(name, offset, count) for offset, count in ranges]

    def read_all(self, name: str) -> bytes:
        """As `Storage.read_all`."""
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise self._explain(name, error) from error

    def size(self, name: str) -> int:
        """As `Storage.size`."""
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise self._explain(name, error) from error

    def _read_new(self, name: str, offset: int, count: int) -> bytes:
        descriptor = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
        # No lock (a fork could copy it locked): the first of two racing threads keeps its
        # descriptor, the other closes its own after use.
        if len(self._open) < self._capacity:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            if self._open.setdefault(name, descriptor) == descriptor:
                return os.pread(descriptor, count, offset)
        try:
            return os.pread(descriptor, count, offset)
        finally:
            os.close(descriptor)

    def _explain(self, name: str, error: OSError) -> DataError:
        return DataError(
            f"Cannot read {self.root / name}: {error.strerror}. If the store was compacted "
            "meanwhile, open it anew; otherwise copy it anew from its source."
        )


def _close_all(descriptors: dict[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
    descriptors.clear()


def open_storage(location: str | Path, options: dict[str, str] | None = None) -> Storage:
    """The files below `location`: a folder, or a URL that `remote_storage` knows.

    Raises:
        UnknownChoice: for a URL of another kind. ConfigError: for options that do not fit.
    """
    if "://" in str(location):
        from vla.data.remote_storage import open_remote

        return open_remote(str(location), options or {})
    if options:
        raise ConfigError(f"{location} is a local folder; it takes no options ({list(options)}).")
    return LocalStorage(Path(location))
