"""Pickle's instructions, read and followed as far as a list of tensors needs them, never run.

A pickle is a program for a machine with a stack; `pickle.load` runs it, imports and calls what
it names. The machine here knows the instructions of which `torch.save` makes plain state dicts,
imports nothing, and calls nothing but `_make`; all else is refused by its name. Facts: the
instructions' meaning is told by `pickletools`; torch/_utils.py says how tensors are rebuilt.
"""

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_TYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
_STORAGES = {f"torch {name}Storage": dtype for name, dtype in _TYPES.items()}
_DICT, _TENSOR, _PARAMETER = (
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
)  # fmt: skip
_GLOBALS = {*_STORAGES, _DICT, _TENSOR, _PARAMETER}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_NEW = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_LIST": list,
}  # fmt: skip
_NONSENSE = (ValueError, IndexError, KeyError, TypeError, OverflowError, RuntimeError)
_MOST_AXES = 25
_COUNTS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Refused(Exception):
    """What the file holds is not what a state dict is made of; `torch_zip` says it to the user."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the file mentions; nothing is imported for it."""

    name: str


class Machine:
    """Pickle's stack, mark by mark, and its memo; see `run`.

    `find_storage` gives the flat numbers of a storage, by its type, key and count.
    """

    def __init__(self, find_storage: Callable[[torch.dtype, str, int], Tensor]):
        self.find_storage = find_storage
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what stands under each open mark
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """What the pickle describes."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # texts that Python only just takes
                for opcode, value, _ in pickletools.genops(program):
                    if opcode.name == "STOP":
                        return self.stack.pop()
                    self._step(opcode.name, value)
        except (*_NONSENSE, Warning) as error:
            raise Refused(f"its pickle makes no sense ({error!r:.200})") from error
        raise Refused("its pickle has no end")

    def _step(self, name: str, value: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(value)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[value] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[value])
        elif name == "GLOBAL":
            if value not in _GLOBALS:
                raise Refused(f"it asks for {value.replace(' ', '.')!r}")
            stack.append(Global(value))
        elif name == "MARK":
            self.below.append(stack)
            self.stack = []
        elif name in _COUNTS:
            parts = [stack.pop() for _ in range(_COUNTS[name])]
            stack.append(tuple(reversed(parts)))
        elif name == "BINPERSID":
            stack.append(self._look_up(stack.pop()))
        elif name == "REDUCE":
            arguments, maker = stack.pop(), stack.pop()
            stack.append(_make(maker, arguments))
        elif name != "PROTO":
            self._fill(name)

    def _fill(self, name: str) -> None:
        """Instructions that take what stands behind a mark, or change a container."""
        if name == "TUPLE":
            parts = self._close()
            self.stack.append(tuple(parts))
        elif name in ("SETITEM", "SETITEMS"):
            last = [self.stack.pop(), self.stack.pop()][::-1] if name == "SETITEM" else None
            parts = self._close() if last is None else last
            owner = _require(self.stack[-1], dict)
            for key, value in zip(parts[::2], parts[1::2], strict=True):
                owner[_require(key, str, int)] = value
        elif name in ("APPEND", "APPENDS"):
            parts = [self.stack.pop()] if name == "APPEND" else self._close()
            _require(self.stack[-1], list).extend(parts)
        elif name == "BUILD":  # the versions of its modules, which a state dict carries along
            extra = _require(self.stack.pop(), dict)
            if extra.keys() - {"_metadata"}:
                raise Refused(f"an object is given the attributes {sorted(extra)[:5]}")
            _require(self.stack[-1], dict)
        else:
            raise Refused(f"it uses the instruction {name}")

    def _look_up(self, told: Any) -> Tensor:
        """The storage of a persistent id: ("storage", type, key, device, count)."""
        match told:
            case ("storage", Global(kind), str(key), str(), int(count)) if kind in _STORAGES:
                return self.find_storage(_STORAGES[kind], key, count)
        raise Refused("it names a storage in another way than torch does")

    def _close(self) -> list[Any]:
        parts, self.stack = self.stack, self.below.pop()
        return parts


def _make(maker: Any, arguments: Any) -> Any:
    """What the call of one of three known functions would give."""
    match maker, arguments:
        case Global(name), () if name == _DICT:
            return {}
        case Global(name), (Tensor() as tensor, bool(), dict()) if name == _PARAMETER:
            return tensor
        case (
            Global(name),
            (Tensor() as numbers, int(offset), tuple(size), tuple(stride), bool(), dict()),
        ) if name == _TENSOR:
            return _view(numbers, offset, size, stride)
    raise Refused(
        f"it calls {maker.name if isinstance(maker, Global) else type(maker).__name__!r} with "
        "arguments that torch.save does not write"
    )


def _view(numbers: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """A tensor within a flat storage, never outside of it."""
    numbered = all(type(one) is int and one >= 0 for one in (offset, *size, *stride))
    if len(size) != len(stride) or len(size) > _MOST_AXES or not numbered:
        raise Refused(
            f"a tensor has offset {offset}, size {size[:9]} and strides {stride[:9]}, "
            f"{len(size)} and {len(stride)} of them"
        )
    if numbers.ndim != 1 or numbers.stride() != (1,):
        raise Refused("a tensor is made of another tensor, not of a storage")
    count = 1
    for one in size:
        count *= one
    last = offset + sum((one - 1) * step for one, step in zip(size, stride, strict=True))
    # one number in many places (an expanded tensor) could be a file of a kilobyte and a terabyte
    if count > len(numbers) or (count and last >= len(numbers)) or offset > len(numbers):
        raise Refused(
            f"a tensor of size {size}, strides {stride} and offset {offset} does not lie within "
            f"its storage of {len(numbers)}"
        )
    return numbers.as_strided(size, stride, numbers.storage_offset() + offset)


def _require(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise Refused(f"a {type(value).__name__} stands where {kinds[0].__name__} must")
    return value
