"""What array formats (HDF5, zarr) share: axes by name, rows that are checked, pictures, rates."""

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.embodiment import Axis
from vla.errors import DataError, UnknownChoice, choose
from vla.types import Float32, Uint8

TURNS = {"as_is": np.s_[:], "flip": np.s_[:, ::-1], "rot180": np.s_[:, ::-1, ::-1]}
"""How pictures (N, H, W, 3) become upright: "flip" swaps top and bottom, "rot180" sides too."""

RATE_TOLERANCE = 0.05
"""How far the median step of recorded times may lie from the declared rate, as a share of it."""


def named_axes(
    names: str, *, unit: str, low: float, high: float, mode: str = "absolute", frame: str = "base"
) -> tuple[Axis, ...]:
    """One axis per word of `names`, equal in all but the name."""
    return tuple(
        Axis(name=name, unit=unit, low=low, high=high, mode=mode, frame=frame)
        for name in names.split()
    )


def numeric_order(names: Iterable[str]) -> list[str]:
    """Sorted by the numbers in them: demo_2 before demo_10, where text order has it after."""
    return sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def find(group: Any, key: str, place: str) -> Any:
    """The array or group `key` of an HDF5 or zarr group. Raises DataError listing what exists."""
    if key not in group:
        raise DataError(f"{place} lacks {key!r}; it has: {', '.join(sorted(group)) or 'nothing'}.")
    return group[key]


def read_numbers(array: Any, rows: slice, *, what: str, width: int) -> Float32:
    """Rows of a numeric array (N, width), or (N,) when width is 1, as float32 (rows, width).

    Raises:
        DataError: for another shape, or values that are no numbers.
    """
    shape = tuple(array.shape)
    if not (shape[1:] == (width,) or (width == 1 and len(shape) == 1)):
        raise DataError(f"{what} has shape {shape}; it must be (steps, {width}).")
    if array.dtype.kind not in "fiu":
        raise DataError(f"{what} holds {array.dtype}, no numbers.")
    return np.asarray(array[rows], np.float32).reshape(-1, width)


def read_images(array: Any, rows: slice, *, what: str, turn: str = "as_is") -> Uint8:
    """Rows of an image array (N, H, W, 3), RGB, as uint8, turned upright by `TURNS[turn]`.

    Floats are taken when they are whole numbers from 0 to 255, as PushT stores them.

    Raises:
        DataError: for another shape, dtype or range.
    """
    shape = tuple(array.shape)
    if len(shape) != 4 or shape[3] != 3:
        raise DataError(f"{what} has shape {shape}; pictures are (steps, height, width, 3).")
    pixels = np.asarray(array[rows])
    if pixels.dtype != np.uint8:
        whole = pixels.astype(np.uint8) if _are_bytes(pixels) else None
        if whole is None:
            raise DataError(
                f"{what} holds {pixels.dtype} that are not whole numbers from 0 to 255; "
                "its scale is unknown. Convert it to uint8 first."
            )
        pixels = whole
    return np.ascontiguousarray(pixels[TURNS[turn]])


def _are_bytes(pixels: NDArray[Any]) -> bool:
    if pixels.dtype.kind not in "fiu" or not np.isfinite(pixels).all():
        return False
    return bool(((pixels >= 0) & (pixels <= 255) & (pixels == np.rint(pixels))).all())


def require_equal_lengths(lengths: dict[str, int], place: str) -> int:
    """The one length that all arrays have. Raises DataError naming them otherwise."""
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise DataError(f"{place} has arrays of different lengths: {told}.")
    length = next(iter(lengths.values()))
    if length == 0:
        raise DataError(f"{place} is empty.")
    return length


def require_rate(hz: float, declared: float, place: str) -> None:
    """Raise DataError unless the rate of the data is the one that the source declares."""
    if not abs(hz - declared) <= RATE_TOLERANCE * declared:
        raise DataError(
            f"{place} runs at {hz:g} Hz, the source is declared at {declared:g}. Give "
            f"source.hz={hz:g}, or convert files of different rates into stores of their own."
        )


def read_text(value: Any, what: str) -> str:
    """Text from an attribute: str, bytes, or a list of pieces.

    Raises:
        DataError: when it is not UTF-8 or not text.
    """
    if isinstance(value, list | tuple | np.ndarray):
        return "".join(read_text(piece, what) for piece in value)
    try:
        # h5py hands bytes that are not UTF-8 on as lone surrogates; encoding finds them.
        return value.decode() if isinstance(value, bytes) else value.encode().decode()
    except UnicodeError as error:
        raise DataError(f"{what} is not UTF-8 text: {error}. Give source.instruction.") from error
    except AttributeError as error:
        raise DataError(f"{what} is a {type(value).__name__}, no text.") from error


def read_json(value: Any, what: str) -> dict[str, Any]:
    """A JSON object from a text attribute. Raises DataError."""
    try:
        parsed = json.loads(read_text(value, what))
    except ValueError as error:
        raise DataError(f"{what} is not JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise DataError(f"{what} is a JSON {type(parsed).__name__}; an object was expected.")
    return parsed


def choose_cameras(wanted: dict[str, str], found: Iterable[str]) -> dict[str, str]:
    """Source name to our name; all that were found, under their own names, when none is wanted.

    Raises:
        UnknownChoice: for one that the source lacks.
        DataError: when two get the same name.
    """
    table = {name: name for name in sorted(found)}
    for name in wanted:
        choose("source camera", name, table)
    if len(set(wanted.values())) != len(wanted):
        raise DataError(f"Two source cameras get the same name: {wanted}.")
    return dict(wanted) or table


def choose_axes(keys: Iterable[str], table: dict[str, tuple[Axis, ...]]) -> tuple[Axis, ...]:
    """The axes of several keys in order. Raises UnknownChoice."""
    axes: list[Axis] = []
    for key in keys:
        if key not in table:
            raise UnknownChoice("state key", key, table)
        axes += table[key]
    return tuple(axes)
