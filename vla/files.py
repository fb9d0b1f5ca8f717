"""Files and folders that are there completely or not at all, whenever the process is killed."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla.errors import ConfigError

UNFINISHED = ".unfinished-"


@contextmanager
def complete_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on leaving it is synced and renamed to `final`.

    A folder that stands at `final` already is replaced. When the body raises, nothing
    remains; when the process is killed, a folder whose name begins with UNFINISHED does.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.parent / f"{UNFINISHED}{os.getpid()}-{final.name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        for path in [*draft.rglob("*"), draft]:
            sync(path)
        if final.exists():
            discard_folder(final)
        os.replace(draft, final)
        sync(final.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_vacant(path: Path) -> None:
    """Raise ConfigError when something stands at `path`: nobody's work is replaced unasked."""
    if path.exists():
        raise ConfigError(f"{path} exists; give another output=..., or remove it.")


def discard_folder(path: Path) -> None:
    """Delete a folder; killed half-way, it is no longer under its name."""
    doomed = path.parent / f"{UNFINISHED}{os.getpid()}-discarded-{path.name}"
    os.replace(path, doomed)
    shutil.rmtree(doomed)


def remove_unfinished(parent: Path) -> None:
    """Delete what killed writers left; only the sole writer under `parent` may call this."""
    for path in parent.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` atomically and durably; parent folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(name, 0o644)
    os.replace(name, path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON; NaN and infinity, which JSON lacks, raise ValueError."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
