"""Tensors out of the files of `torch.save`, without running what these files say.

Such a file is a zip: `data.pkl`, a pickle that lists tensors, and `data/KEY`, the numbers of each
storage. The list is rebuilt by `policies.torch_program`, which runs nothing. The numbers are
mapped, not read: tensors may be written to, the file never changes. It must not shrink while
they are in use. Facts: torch 2.11, torch/serialization.py; the zip format's APPNOTE.
"""

import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any

import torch
from torch import Tensor

from policies.torch_program import Global, Machine, Refused
from vla.errors import CheckpointError

_LOCAL = Struct("<4s22xHH")  # a zip entry's own header: mark, lengths of its name and extras
_MOST = 256 << 20  # bytes of data.pkl: a hundred per tensor are usual
_DEEPEST = 12


def read_torch_zip(path: Path) -> dict[str, Tensor]:
    """Every tensor in `path`, on the CPU.

    Names of dictionaries in dictionaries are joined by dots, places in lists count from 0. What
    is no tensor (counters, options, texts) is left out.

    Raises:
        CheckpointError: when the file is damaged, is not of torch's zip format, or holds
            anything but tensors, plain values and containers of them; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            file = _File(path, archive)
            program = file.read_program()
            pairs = _flatten(Machine(file.find_storage).run(program), len(program))
            found: dict[str, Tensor] = {}
            for name, tensor in pairs:
                if name in found:
                    raise Refused(f"two tensors are named {name!r}")
                found[name] = tensor
            return found
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is no zip file of torch ({error}). It is damaged, or from a torch before "
            "1.6: fetch it again, or save it anew where its source is trusted."
        ) from error
    except (Refused, OSError, NotImplementedError, UnicodeError) as error:
        raise CheckpointError(
            f"{path} is not read: {error}. Only plain tensors by name are taken from a torch "
            "file, and nothing in it is run."
        ) from error


class _File:
    """The zip, and its bytes mapped."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.found: dict[str, Tensor] = {}
        self.entries = {entry.filename: entry for entry in archive.infolist()}
        if len(self.entries) != len(archive.infolist()):
            raise Refused("two entries of the zip have the same name")
        tops = {name.partition("/")[0] for name in self.entries if name.endswith("/data.pkl")}
        if len(tops) != 1:
            raise Refused(f"the zip has {len(tops)} data.pkl where torch writes one")
        (self.top,) = tops
        # private: pages are read when they are looked at, and copied when they are written to
        self.bytes = torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
        order = f"{self.top}/byteorder"
        if order in self.entries and bytes(self.find(order).numpy()) != sys.byteorder.encode():
            raise Refused("its numbers are of the other byte order")

    def find(self, name: str) -> Tensor:
        """The mapped bytes uint8 (n,) of one entry, whose checksum is right."""
        if name in self.found:
            return self.found[name]
        entry = self.entries.get(name)
        if entry is None:
            raise Refused(f"the zip has no {name!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise Refused(f"{name!r} is compressed or encrypted, which torch never does")
        start = entry.header_offset
        header = bytes(self.bytes[start : start + _LOCAL.size].numpy())
        if len(header) != _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise Refused(f"{name!r} is not where the zip's index says")
        _, named, extra = _LOCAL.unpack(header)
        start += _LOCAL.size + named + extra
        found = self.bytes[start : start + entry.file_size]
        if len(found) != entry.file_size or zlib.crc32(found.numpy()) != entry.CRC:
            raise Refused(f"{name!r} is cut short or damaged; fetch the file again")
        self.found[name] = found
        return found

    def read_program(self) -> bytes:
        """The pickle."""
        name = f"{self.top}/data.pkl"
        if self.entries[name].file_size > _MOST:
            raise Refused(f"{name!r} has more than {_MOST} bytes")
        return bytes(self.find(name).numpy())

    def find_storage(self, dtype: torch.dtype, key: str, count: int) -> Tensor:
        """The numbers (count,) of one storage."""
        found = self.find(f"{self.top}/data/{key}")
        if len(found) != count * dtype.itemsize:
            raise Refused(f"storage {key!r} has {len(found)} bytes for {count} of {dtype}")
        if dtype == torch.bool:
            return found != 0  # other bytes than 0 and 1 are no bool in C++
        if found.storage_offset() % dtype.itemsize:
            found = found.clone()
        return found.view(dtype)


def _flatten(value: Any, most: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors by name.

    A container that lies within itself, or in thousands of places, would make a small file
    endless: there cannot be more values than the `most` bytes that describe them.
    """
    waiting = [("", value, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        most -= 1
        if depth > _DEEPEST or most < 0:
            raise Refused(f"{name[:80]!r} lies in containers without end")
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            lower = [(f"{name}.{key}" if name else str(key), one, depth + 1) for key, one in pairs]
            waiting += reversed(lower)
        elif isinstance(value, Global):
            raise Refused(f"{name[:80]!r} is {value.name.replace(' ', '.')}")
