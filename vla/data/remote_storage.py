"""Reading a store where it lies: in a bucket, on a web server, on the Hugging Face hub.

Reading in place suits many short windows of a store too large to copy. A window that lies in
one segment costs one request per camera; a segment's first use costs two more per camera, for
the shard's size and its index.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from vla.data.storage import Range, Storage
from vla.errors import ConfigError, DataError, UnknownChoice, choose

GAP = 2**20
"""Parts of a file that are less than this many bytes apart come in one request, as obstore does."""


def open_remote(location: str, options: dict[str, str]) -> Storage:
    """The files below a URL.

    Args:
        location: "s3://bucket/path", "gs://bucket/path", "http(s)://host/path" (a server that
            honours Range), or "hf://datasets/owner/name[@revision]/path".
        options: what the environment does not say. For s3 and gs any configuration key of
            obstore ("endpoint", "region", "access_key_id", ...), and "anonymous": "true" to
            send no signature; the environment has AWS_ENDPOINT_URL, AWS_REGION,
            GOOGLE_SERVICE_ACCOUNT and so on. For hf "endpoint" and "token" (HF_ENDPOINT,
            HF_TOKEN).

    Raises:
        UnknownChoice, ConfigError: for another kind of URL, or an option it does not have.
    """
    scheme = location.partition("://")[0]
    return choose("kind of store location", scheme, REMOTE)(location.rstrip("/"), options)


class ObjectStorage:
    """Buckets and web servers, through obstore."""

    process: ClassVar[int | None] = None
    """Which process began to use obstore; its threads do not survive a fork."""

    def __init__(self, location: str, options: dict[str, str]):
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        self._location = location
        self._errors = (BaseError, OSError, ValueError)
        config: dict[str, Any] = dict(options)
        if "anonymous" in config:
            config["skip_signature"] = config.pop("anonymous")
        plain = (location, options.get("endpoint", ""))
        chosen: dict[str, Any] = {"config": config} if config else {}
        if any(url.startswith("http://") for url in plain):
            chosen["client_options"] = {"allow_http": True}
        if location.startswith("http") and config:
            raise ConfigError(f"{location} takes no options; {list(options)} given.")
        self._check_process()
        try:
            self._store = from_url(location, **chosen)
        except self._errors as error:
            raise ConfigError(f"{location} cannot be opened: {error}") from error

    def __str__(self) -> str:
        return self._location

    def read(self, name: str, offset: int, count: int) -> bytes:
        """As `Storage.read`."""
        return self.read_ranges(name, [(offset, count)])[0]

    def read_ranges(self, name: str, ranges: list[Range]) -> list[bytes]:
        """As `Storage.read_ranges`; neighbouring parts come in one request."""
        from obstore import get_ranges

        starts, lengths = [offset for offset, _ in ranges], [count for _, count in ranges]
        with self._explain(name):
            parts = get_ranges(self._store, name, starts=starts, lengths=lengths)
        found = [bytes(part) for part in parts]
        if [len(part) for part in found] != lengths:
            raise DataError(f"{self}/{name} ends early, or the server ignores Range.")
        return found

    def read_all(self, name: str) -> bytes:
        """As `Storage.read_all`."""
        from obstore import get

        with self._explain(name):
            return bytes(get(self._store, name).bytes())

    def size(self, name: str) -> int:
        """As `Storage.size`."""
        from obstore import head

        with self._explain(name):
            return int(head(self._store, name)["size"])

    @contextmanager
    def _explain(self, name: str) -> Iterator[None]:
        self._check_process()
        try:
            yield
        except self._errors as error:
            raise DataError(f"Cannot read {self}/{name}: {_first_line(error)}") from error

    def _check_process(self) -> None:
        if ObjectStorage.process not in (None, os.getpid()):
            raise DataError(
                f"{self} is read in a process that was forked after remote reading began, which "
                "would hang. Start processes with the method 'spawn', or use threads."
            )
        ObjectStorage.process = os.getpid()


class HubStorage:
    """The Hugging Face hub, through its own fsspec file system."""

    def __init__(self, location: str, options: dict[str, str]):
        from huggingface_hub import HfFileSystem

        for key in options:
            if key not in ("endpoint", "token"):
                raise UnknownChoice("option of an hf:// store", key, ("endpoint", "token"))
        self._location = location
        chosen: dict[str, Any] = dict(options)
        # Its instances are shared by default, and remember listings for ever.
        self._files: Any = HfFileSystem(skip_instance_cache=True, **chosen)

    def __str__(self) -> str:
        return self._location

    def read(self, name: str, offset: int, count: int) -> bytes:
        """As `Storage.read`."""
        with self._explain(name):
            # Without a cache: the default would read five megabytes ahead.
            data = self._files.cat_file(
                f"{self}/{name}", start=offset, end=offset + count, cache_type="none"
            )
        if len(data) != count:
            raise DataError(f"{self}/{name} ends early: {count} bytes wanted at {offset}.")
        return data

    def read_ranges(self, name: str, ranges: list[Range]) -> list[bytes]:
        """As `Storage.read_ranges`; neighbouring parts come in one request."""
        from fsspec.utils import merge_offset_ranges

        starts, ends = [o for o, _ in ranges], [o + count for o, count in ranges]
        _, begins, stops = merge_offset_ranges([name] * len(ranges), starts, ends, max_gap=GAP)
        blocks = [self.read(name, a, b - a) for a, b in zip(begins, stops, strict=True)]
        places = [bisect_right(begins, start) - 1 for start in starts]
        return [
            blocks[place][offset - begins[place] :][:count]
            for place, (offset, count) in zip(places, ranges, strict=True)
        ]

    def read_all(self, name: str) -> bytes:
        """As `Storage.read_all`."""
        with self._explain(name):
            return bytes(self._files.cat_file(f"{self}/{name}"))

    def size(self, name: str) -> int:
        """As `Storage.size`."""
        with self._explain(name):
            return int(self._files.info(f"{self}/{name}")["size"])

    @contextmanager
    def _explain(self, name: str) -> Iterator[None]:
        import httpx

        try:
            yield
        except (OSError, ValueError, httpx.HTTPError) as error:
            raise DataError(f"Cannot read {self}/{name}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The backends add the whole request, headers and all."""
    return (str(error).strip() or repr(error)).splitlines()[0]


REMOTE: dict[str, type[ObjectStorage] | type[HubStorage]] = {
    "s3": ObjectStorage,
    "gs": ObjectStorage,
    "http": ObjectStorage,
    "https": ObjectStorage,
    "hf": HubStorage,
}
