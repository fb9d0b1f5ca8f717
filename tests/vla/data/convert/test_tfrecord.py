import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.data.convert.tfrecord import parse_example, read_records
from vla.errors import DataError


def _masked(data: bytes) -> bytes:
    checksum = google_crc32c.value(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def tfrecord(*records: bytes) -> bytes:
    parts = []
    for data in records:
        length = struct.pack("<Q", len(data))
        parts += [length, _masked(length), data, _masked(data)]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _message(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def example(features: dict) -> bytes:
    """An independent encoder: lists of bytes, float arrays, or integer arrays."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, list):
            feature = _message(1, b"".join(_message(1, item) for item in value))
        elif value.dtype == np.float32:
            feature = _message(2, _message(1, value.tobytes()))
        else:
            feature = _message(3, _message(1, b"".join(_varint(int(v)) for v in value)))
        entries += _message(1, _message(1, name.encode()) + _message(2, feature))
    return _message(1, entries)


RECORDS = (b"first", b"", bytes(range(256)) * 5)


def test_records_come_back_with_their_offsets(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(tfrecord(*RECORDS))
    records = list(read_records(path))
    assert [record.data for record in records] == list(RECORDS)
    assert [record.offset for record in records] == [0, 21, 37]


def test_the_checksum_is_tensorflows():
    # The first header of a file that TensorFlow wrote: length, masked crc32c of it.
    header = bytes.fromhex("04350200000000008c1fcfa2")
    assert _masked(header[:8]) == header[8:]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_file_cut_short_names_file_and_offset(tmp_path, cut):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(tfrecord(*RECORDS)[:-cut])
    *whole, last = read_records(path)
    assert [record.data for record in whole] == [b"first", b""]
    assert last.lost
    with pytest.raises(DataError, match=r"a\.tfrecord, record at byte 37: the file ends"):
        _ = last.data


def test_corrupt_data_is_stepped_over(tmp_path):
    path = tmp_path / "a.tfrecord"
    content = bytearray(tfrecord(*RECORDS))
    content[12] ^= 1  # in the first record's data
    path.write_bytes(content)
    first, second, third = read_records(path)
    assert (second.data, third.data) == RECORDS[1:]
    assert not first.lost
    with pytest.raises(DataError, match="byte 0: the checksum of its data"):
        _ = first.data


@given(st.integers(0, 20 * 8 - 1))
def test_any_flipped_bit_is_found(tmp_path_factory, bit):
    data = bytearray(tfrecord(b"data")) + tfrecord(b"more")
    data[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("flip") / "a.tfrecord"
    path.write_bytes(data)
    with pytest.raises(DataError, match="byte 0"):
        _ = next(read_records(path)).data


def test_missing_file(tmp_path):
    (record,) = read_records(tmp_path / "none.tfrecord")
    assert record.lost
    with pytest.raises(DataError, match=r"none\.tfrecord"):
        _ = record.data


numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5)


@given(
    ints=numbers,
    floats=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
    texts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
)
def test_an_example_comes_back(ints, floats, texts):
    parsed = parse_example(
        example(
            {
                "ints": np.array(ints, np.int64),
                "steps/floats": np.array(floats, np.float32),
                "texts": texts,
            }
        )
    )
    assert parsed["ints"].tolist() == ints
    np.testing.assert_array_equal(parsed["steps/floats"], np.array(floats, np.float32))
    assert parsed["texts"] == texts


def test_what_is_skipped_is_not_looked_at():
    entries = _message(1, b"broken") + _message(2, b"\xff\xff")
    message = _message(1, _message(1, entries))
    with pytest.raises(DataError, match="not a tf"):
        parse_example(message)
    assert parse_example(message, skip={"broken"}) == {}


@pytest.mark.parametrize("run", [b"\x80", b"\xff" * 10 + b"\x01"])
def test_integers_without_an_end_are_refused(run):
    entry = _message(1, b"i") + _message(2, _message(3, _message(1, run)))
    with pytest.raises(DataError, match="an integer"):
        parse_example(_message(1, _message(1, entry)))


def test_unpacked_numbers_are_read_too():
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (1.5, -2))
    ints = b"".join(b"\x08" + _varint(value) for value in (3, -4))
    entries = [_message(1, b"f") + _message(2, _message(2, floats))]
    entries += [_message(1, b"i") + _message(2, _message(3, ints))]
    parsed = parse_example(_message(1, b"".join(_message(1, entry) for entry in entries)))
    assert parsed["f"].tolist() == [1.5, -2]
    assert parsed["i"].tolist() == [3, -4]


@pytest.mark.parametrize("data", [b"\x0a\x7f", b"\xff", b"\x0f", b"\x0a\x04\x0a\x02\x0a\x09"])
def test_what_is_no_example_is_refused(data):
    with pytest.raises(DataError, match=r"not a tf\.train\.Example"):
        parse_example(data)
