"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

    record = uint64 length | masked crc32c of length | data | masked crc32c of data

(TensorFlow, tensorflow/core/lib/io/record_writer.h; little-endian.) An Example is a
protocol buffer: a map from names to lists of bytes, floats or 64-bit integers
(tensorflow/core/example/feature.proto).
"""

from collections.abc import Container, Iterator
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
    """One record, and where in the file it began.

    Attributes:
        offset: of its first byte.
        content: its bytes; empty when it is damaged.
        damage: what is wrong with it, None when nothing is.
        lost: nothing behind it in the file can be found.
    """

    offset: int
    content: bytes
    damage: DataError | None = None
    lost: bool = False

    @property
    def data(self) -> bytes:
        """The checked bytes. Raises DataError naming file and byte offset when damaged."""
        if self.damage is not None:
            raise self.damage
        return self.content


def read_records(path: Path) -> Iterator[Record]:
    """Stream a file's records, checking both checksums of each; nothing is raised here.

    A record whose data is corrupt comes as a damaged `Record`, and the next one follows. When
    a length is corrupt, or the file is missing or ends early, nothing behind that place can be
    found: one last damaged `Record` says so.
    """
    offset, lost = 0, False
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            while offset < size and not lost:
                record = _read_record(file, path, offset, size)
                yield record
                offset, lost = file.tell(), record.lost
    except OSError as error:
        yield Record(offset, b"", DataError(f"Cannot read {path}: {error.strerror}."), lost=True)


def _read_record(file: BinaryIO, path: Path, offset: int, size: int) -> Record:
    """The record at `offset`, where `file` stands."""
    header = file.read(12)
    count = int.from_bytes(header[:8], "little")
    if len(header) == 12 and not _intact(header[:8], header[8:]):
        why = "the checksum of its length does not match"
    elif len(header) < 12 or offset + 16 + count > size:
        why = "the file ends inside this record"
    else:
        data = file.read(count)
        if _intact(data, file.read(4)):
            return Record(offset, data)
        return Record(
            offset, b"", _damaged(path, offset, "the checksum of its data does not match")
        )
    return Record(offset, b"", _damaged(path, offset, why), lost=True)


def _intact(data: bytes, stored: bytes) -> bool:
    checksum = google_crc32c.value(data)
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(stored, "little")


def _damaged(path: Path, offset: int, why: str) -> DataError:
    return DataError(f"{path}, record at byte {offset}: {why}. Download or copy the file anew.")


def parse_example(data: bytes, skip: Container[str] = ()) -> dict[str, Feature]:
    """The features of a serialised `tf.train.Example` by name.

    Args:
        data: the message.
        skip: names to leave out; their values are not looked at.

    Raises:
        DataError: when the bytes are not such a message.
    """
    features: dict[str, Feature] = {}
    try:
        for number, message in _fields(data):
            if number == 1:  # Example.features
                for _, entry in _fields(message):  # Features.feature, a map
                    parts = dict(_fields(entry))
                    name = parts[1].decode()
                    if name not in skip:
                        features[name] = _parse_feature(parts.get(2, b""))
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
    """A run of base-128 numbers, all at once: 7 bits a byte, the last byte below 128."""
    parts = np.frombuffer(data, np.uint8)
    if len(parts) == 0:
        return np.zeros(0, np.int64)
    if parts[-1] >= 128:
        raise ValueError("an integer is cut short")
    ends = np.flatnonzero(parts < 128)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise ValueError("an integer has more than 64 bits")
    places = np.arange(len(parts)) - np.repeat(starts, lengths)
    bits = (parts & 127).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.add.reduceat(bits, starts).view(np.int64)


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
