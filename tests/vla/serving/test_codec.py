"""Frames: what goes in comes out, and nothing else does any harm."""

import contextlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")

from vla.serving.codec import DEPTH, DTYPES, ENTRIES, ProtocolError, pack, unpack  # noqa: E402

ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text()
VALUES = st.recursive(
    LEAVES | st.binary() | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def same(left, right):
    if isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            same(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            same(a, b)
    else:
        assert left == right or left != left


@given(value=VALUES)
@settings(max_examples=60)
def test_values_come_back(value):
    same(value, unpack(pack(value)))


def test_the_wire_form_is_openpi_s():
    raw = msgpack.unpackb(pack({"a": np.arange(3, dtype=np.float32), "b": np.int16(4)}))
    assert raw["a"] == {
        b"__ndarray__": True, b"dtype": "<f4", b"shape": [3],
        b"data": np.arange(3, dtype="<f4").tobytes(),
    }  # fmt: skip
    assert raw["b"] == {b"__npgeneric__": True, b"data": 4, b"dtype": "<i2"}
    restored = unpack(pack(np.int16(4)))
    assert restored == 4
    assert restored.dtype == np.int16


def test_big_endian_and_strided_arrays_are_put_in_order():
    same(unpack(pack(np.arange(6, dtype=">f4")[::2])), np.array([0, 2, 4], "<f4"))


@pytest.mark.parametrize(
    "value", [np.array([object()]), np.array(["a"]), np.array([1j]), np.datetime64(1, "s"),
              object(), {1, 2}, 2**70, np.zeros(1, [("a", "<f4")])]
)  # fmt: skip
def test_other_values_are_not_sent(value):
    with pytest.raises(ProtocolError, match="cannot hold"):
        pack(value)


def array(**changes):
    value = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}
    return {**value, **{key.encode(): entry for key, entry in changes.items()}}


def nested(levels):
    value = None
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (array(dtype="|O"), "allowed"),
        (array(dtype=">f4"), "allowed"),
        (array(dtype=["<f4"]), "allowed"),
        (array(shape=[3]), "bytes, not 8"),
        (array(shape=[-1, -2]), "cannot have"),
        (array(shape=[True, 2]), "cannot have"),
        (array(shape=[2.0]), "cannot have"),
        (array(shape=[0, 2**62], data=b""), "cannot have"),
        (array(shape=[1] * 9), "dimensions"),
        (array(shape=None), "dimensions"),
        (array(data="text"), "dimensions"),
        (array(dtype="|b1", data=b"\x02\x00"), "booleans?"),
        ({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}, "does not fit"),
        ({b"__npgeneric__": True, b"data": "9" * 99, b"dtype": "<f4"}, "not a number"),
        ({b"__npgeneric__": True, b"data": float("nan"), b"dtype": "<i4"}, "does not fit"),
        (nested(DEPTH + 1), "nests"),
        (nested(300), "."),
        ([0] * (ENTRIES + 1), "max_array_len"),
        ([[[]] * 1000] * 5, "more than"),
        ({1: 2}, "not allowed"),
        (msgpack.ExtType(5, b"abc"), "."),
        (msgpack.Timestamp(1), "."),
    ],
)  # fmt: skip
def test_strange_messages_are_refused(value, reason):
    with pytest.raises(ProtocolError, match=reason):
        unpack(msgpack.packb(value))


def test_empty_arrays_of_huge_sides_are_refused_or_empty():
    frame = msgpack.packb(array(shape=[0] + [2**26] * 7, data=b""))
    with pytest.raises(ProtocolError):
        unpack(frame)


def test_a_frame_above_the_limit_is_refused_unread():
    with pytest.raises(ProtocolError, match="limit is 10"):
        unpack(pack(list(range(20))), limit=10)


@given(frame=st.binary(max_size=400))
@settings(max_examples=150)
def test_random_bytes_raise_nothing_else(frame):
    check_harmless(frame)


@given(data=st.data(), value=VALUES)
@settings(max_examples=150)
def test_mutated_frames_raise_nothing_else(data, value):
    frame = bytearray(pack({"observation": value, "x": np.ones((2, 2), np.float32)}))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(frame)))
    check_harmless(bytes(frame))
    check_harmless(bytes(frame[:cut]))


def check_harmless(frame):
    with contextlib.suppress(ProtocolError):
        value = unpack(frame)
        same(value, unpack(pack(value)))


@pytest.mark.parametrize("kind", [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
def test_announced_lengths_are_not_believed(kind):
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        unpack((kind + b"\x7f\xff\xff\xff\x05") * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
