"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

    record = uint64 length | masked crc32c of length | data | masked crc32c of data

(TensorFlow, tensorflow/core/lib/io/record_writer.h; little-endian.) An Example is a
protocol buffer: a map from names to lists of bytes, floats or 64-bit integers
(tensorflow/core/example/feature.proto).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from vla.errors import DataError

type Feature = list[bytes] | NDArray[np.float32] | NDArray[np.int64]

BYTES, FLOATS, INTEGERS = 1, 2, 3  # field numbers of Feature's oneof
VARINT, WORD64, LENGTH, WORD32 = 0, 1, 2, 5  # protocol buffer wire types


@dataclass(frozen=True, slots=True)
class Record:
    """One record's bytes, and where in the file it began."""

    offset: int
    data: bytes


def read_records(path: Path) -> Iterator[Record]:
    """Stream a file's records, checking both checksums of each.

    Raises:
        DataError: naming file and byte offset, when the file is missing, cut short or corrupt.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    with file:
        offset, size = 0, path.stat().st_size
        while offset < size:
            header = _take(file, 12, path, offset)
            _check(header[:8], header[8:], path, offset, "length")
            count = int.from_bytes(header[:8], "little")
            if offset + 16 + count > size:
                raise _damaged(path, offset, "the file ends inside this record")
            data = _take(file, count, path, offset)
            _check(data, _take(file, 4, path, offset), path, offset, "data")
            yield Record(offset, data)
            offset += 16 + count


def _take(file: BinaryIO, count: int, path: Path, offset: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise _damaged(path, offset, "the file ends inside this record")
    return data


def _check(data: bytes, stored: bytes, path: Path, offset: int, what: str) -> None:
    checksum = google_crc32c.value(data)
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if masked != int.from_bytes(stored, "little"):
        raise _damaged(path, offset, f"the checksum of its {what} does not match")


def _damaged(path: Path, offset: int, why: str) -> DataError:
    return DataError(f"{path}, record at byte {offset}: {why}. Download or copy the file anew.")


def parse_example(data: bytes) -> dict[str, Feature]:
    """The features of a serialised `tf.train.Example` by name.

    Raises:
        DataError: when the bytes are not such a message.
    """
    features: dict[str, Feature] = {}
    try:
        for number, message in _fields(data):
            if number == 1:  # Example.features
                for _, entry in _fields(message):  # Features.feature, a map
                    parts = dict(_fields(entry))
                    features[parts[1].decode()] = _parse_feature(parts.get(2, b""))
    except (IndexError, KeyError, ValueError) as error:
        raise DataError(f"not a tf.train.Example: {error!r}") from error
    return features


def _parse_feature(data: bytes) -> Feature:
    for kind, message in _fields(data):
        values = [value for _, value in _fields(message)]
        if kind == BYTES:
            return values
        # Numbers come packed in one run or one by one: the same after joining.
        if kind == FLOATS:
            return np.frombuffer(b"".join(values), "<f4")
        if kind == INTEGERS:
            return _parse_integers(b"".join(values))
    return []


def _parse_integers(data: bytes) -> NDArray[np.int64]:
    values, position = [], 0
    while position < len(data):
        value, position = _read_varint(data, position)
        values.append(value)
    return np.array(values, np.uint64).view(np.int64)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field; for a varint field, its encoded bytes."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        wire = key & 7
        if wire == VARINT:
            _, end = _read_varint(message, position)
        elif wire == LENGTH:
            count, position = _read_varint(message, position)
            end = position + count
        elif wire in (WORD32, WORD64):
            end = position + (4 if wire == WORD32 else 8)
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(message):
            raise ValueError("a field runs past the end")
        yield key >> 3, message[position:end]
        position = end


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
