"""Messages as bytes: msgpack, with NumPy arrays in the form that openpi's clients use.

An array is the map {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [2, 3]},
a NumPy scalar {b"__npgeneric__": True, b"data": number, b"dtype": "<f4"} (the wire form of
openpi's `msgpack_numpy`, packages/openpi-client). Only booleans, integers and floats pass;
nothing that is received is ever executed, and a frame decides about no more memory than a
small multiple of its own length: every announced length is bounded before it is believed.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from vla.errors import ServingError

DTYPES = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
LIMIT = 64 * 2**20
"""Bytes of the largest frame, unless the caller gives another limit."""
ENTRIES = 1024
"""Entries of the longest list or map; arrays are not lists, so that honest messages are short."""
CONTAINERS = 4096
"""Lists and maps in all: an empty one is a byte on the wire, and sixty in memory."""
DEPTH = 8
"""Levels of maps and lists."""
DIMENSIONS = 8
ARRAY, SCALAR = b"__ndarray__", b"__npgeneric__"
DATA, DTYPE, SHAPE = b"data", b"dtype", b"shape"


class ProtocolError(ServingError):
    """A frame that is not a message of ours, or a message that lacks what it must have."""


def pack(value: Any) -> bytes:
    """The frame of `value`: None, booleans, numbers, text, bytes, lists, maps, NumPy arrays.

    Raises:
        ProtocolError: for anything else, with the type or dtype at fault.
    """
    try:
        return msgpack.packb(value, default=_flatten)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"A message cannot hold this: {error}.") from error


def unpack(frame: bytes, *, limit: int = LIMIT) -> Any:
    """The value in `frame`; its arrays are writable copies.

    Raises:
        ProtocolError: for a frame above `limit` bytes or anything but one whole message.
    """
    if len(frame) > limit:
        raise ProtocolError(f"The frame has {len(frame)} bytes; the limit is {limit}.")
    count = itertools.count(1)

    def build_map(value: dict[Any, Any]) -> Any:
        _check_count(next(count))
        return _restore(value)

    def build_list(value: list[Any]) -> list[Any]:
        _check_count(next(count))
        return value

    try:
        value = msgpack.unpackb(
            frame,
            object_hook=build_map,
            list_hook=build_list,
            ext_hook=_refuse_extension,
            strict_map_key=True,
            max_array_len=ENTRIES,
            max_map_len=ENTRIES,
            max_ext_len=0,
        )
    except (msgpack.UnpackException, ValueError, RecursionError) as error:
        raise ProtocolError(f"Not a message: {str(error) or type(error).__name__}.") from error
    _check_depth(value, left=DEPTH)
    return value


def _flatten(value: Any) -> dict[bytes, Any]:
    """The map of one NumPy value; big-endian arrays are turned round first."""
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__}; give numbers, text or NumPy arrays")
    dtype = value.dtype.newbyteorder("<")
    if dtype.str not in DTYPES:
        raise TypeError(f"dtype {value.dtype}; allowed: {', '.join(DTYPES)}")
    if isinstance(value, np.generic):
        return {SCALAR: True, DATA: value.item(), DTYPE: dtype.str}
    data = np.ascontiguousarray(value, dtype=dtype).tobytes()
    return {ARRAY: True, DATA: data, DTYPE: dtype.str, SHAPE: list(value.shape)}


def _restore(value: dict[Any, Any]) -> Any:
    """The NumPy value that a map stands for; other maps as they are."""
    kinds: dict[bytes, Callable[[dict[Any, Any], np.dtype], Any]]
    kinds = {ARRAY: _restore_array, SCALAR: _restore_scalar}
    for mark, build in kinds.items():
        if mark in value:
            name = value.get(DTYPE)
            if name not in DTYPES:
                raise ProtocolError(f"dtype {name!r}; allowed: {', '.join(DTYPES)}.")
            return build(value, np.dtype(name))
    return value


def _restore_array(value: dict[Any, Any], dtype: np.dtype) -> np.ndarray:
    data, shape = value.get(DATA), value.get(SHAPE)
    if not (isinstance(data, bytes) and isinstance(shape, list) and len(shape) <= DIMENSIONS):
        raise ProtocolError(f"An array needs bytes and at most {DIMENSIONS} dimensions.")
    if not all(type(side) is int and 0 <= side <= LIMIT for side in shape):
        raise ProtocolError(f"An array cannot have the shape {shape}.")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ProtocolError(
            f"An array of shape {shape} and dtype {dtype} has "
            f"{math.prod(shape) * dtype.itemsize} bytes, not {len(data)}."
        )
    array = np.frombuffer(data, dtype)
    if dtype == np.bool_ and (array.view(np.uint8) > 1).any():
        raise ProtocolError("A boolean array holds bytes other than 0 and 1.")
    return array.reshape(shape).copy()


def _restore_scalar(value: dict[Any, Any], dtype: np.dtype) -> np.generic:
    data = value.get(DATA)
    if type(data) not in (bool, int, float):
        raise ProtocolError(f"A scalar holds a {type(data).__name__}, not a number.")
    try:
        with np.errstate(over="ignore"):  # a large float becomes infinite in a narrow one
            return dtype.type(data)
    except (OverflowError, ValueError) as error:
        raise ProtocolError(f"{data} does not fit into {dtype}.") from error


def _check_count(number: int) -> None:
    if number > CONTAINERS:
        raise ProtocolError(f"A message has more than {CONTAINERS} lists and maps.")


def _refuse_extension(code: int, data: bytes) -> None:
    raise ProtocolError(f"Extension type {code} is not part of the protocol.")


def _check_depth(value: Any, *, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise ProtocolError(f"A message nests more than {DEPTH} levels of maps and lists.")
        for entry in value.values() if isinstance(value, dict) else value:
            _check_depth(entry, left=left - 1)
