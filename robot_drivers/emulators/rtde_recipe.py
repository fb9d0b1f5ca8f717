"""Recipes of RTDE v2: which variables a packet carries, and how they are packed.

Source: Universal Robots, "Real-Time Data Exchange (RTDE) Guide". Everything is big-endian.
"""

import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

CODES = {
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR3D": "3d",
    "UINT64": "Q",
    "UINT32": "I",
    "INT32": "i",
    "UINT8": "B",
    "BOOL": "?",
    "DOUBLE": "d",
}
VECTORS = (
    r"(target|actual)_(q|qd|qdd|current|moment)|actual_current_window|joint_control_output"
    r"|(actual|target)_TCP_(pose|speed|force)|joint_temperatures|actual_joint_voltage"
    r"|ft_raw_wrench|external_force_torque|payload_inertia"
)
PATTERNS = (
    ("VECTOR6D", VECTORS),
    ("VECTOR6INT32", "joint_mode"),
    ("VECTOR3D", "actual_tool_accelerometer|elbow_(position|velocity)|payload_cog"),
    ("UINT64", "actual_digital_(input|output)_bits"),
    (
        "UINT32",
        "runtime_state|robot_status_bits|safety_status_bits|.*bit_registers?[0-9]+_to_[0-9]+"
        "|analog_io_types|tool_analog_input_types|speed_slider_mask|euromap67_(in|out)put_bits",
    ),
    ("INT32", r"robot_mode|safety_mode|safety_status|tool_mode|tool_output_(voltage|mode)"),
    ("INT32", r"(in|out)put_int_register_[0-9]+"),
    (
        "UINT8",
        r"(standard|configurable|tool)_digital_output(_mask)?|standard_analog_output_(mask|type)"
        r"|tool_digital_output[01]_mode",
    ),
    ("BOOL", r"(in|out)put_bit_register_[0-9]+"),
)


def type_of(name: str) -> str:
    """The variable's type; DOUBLE is the rest (timestamp, speed_scaling, double registers)."""
    for kind, pattern in PATTERNS:
        if re.fullmatch(pattern, name):
            return kind
    return "DOUBLE"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Names in order; built from the comma-separated list of a set-up packet."""

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """Some clients end the list with a comma."""
        return cls(tuple(name for name in text.split(",") if name))

    @property
    def types(self) -> str:
        """Comma-separated, as the reply carries them."""
        return ",".join(type_of(name) for name in self.names)

    @property
    def layout(self) -> str:
        """For `struct`."""
        return ">" + "".join(CODES[type_of(name)] for name in self.names)

    def pack(self, values: dict[str, Any]) -> bytes:
        """Variables that `values` lacks are 0."""
        numbers: list[Any] = []
        for name in self.names:
            code = CODES[type_of(name)]
            count = int(code[0]) if code[0].isdigit() else 1
            value = values.get(name)
            if value is None:
                numbers += [0] * count
            else:
                numbers += np.asarray(value).tolist() if count > 1 else [value]
        return struct.pack(self.layout, *numbers)

    def unpack(self, data: bytes) -> dict[str, Any]:
        """Inverse of `pack`; vectors come back as tuples."""
        flat, values, place = struct.unpack(self.layout, data), {}, 0
        for name in self.names:
            code = CODES[type_of(name)]
            count = int(code[0]) if code[0].isdigit() else 1
            part = flat[place : place + count]
            values[name] = part if count > 1 else part[0]
            place += count
        return values
