"""The words a recipe is written in: fields of the source, and the axes they become."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla.data.convert.arrays import named_axes
from vla.embodiment import Axis
from vla.errors import DataError
from vla.types import Float32

TURN = 2 * np.pi
BOUNDS = {"m": 2.0, "rad": TURN, "1": 2.0}
"""Hard bounds by unit, wide on purpose: no step of the public data may fall outside. They are
no limits to drive an arm with."""

type Change = Callable[[Float32], Float32]
type Edit = Callable[[Float32, Float32], tuple[Float32, Float32, slice]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Consecutive axes of a vector, and where they come from.

    Attributes:
        field: step feature of the source, below "steps/"; "" for a constant.
        shape: of one step of that feature.
        axes: what comes out.
        start, count: which numbers of the feature go in; as many as axes when `count` is 0.
        change: from (N, count) to (N, axes); None leaves the numbers bit for bit.
        constant: the value of every axis when there is no field.
    """

    field: str
    shape: tuple[int, ...] = ()
    axes: tuple[Axis, ...]
    start: int = 0
    count: int = 0
    change: Change | None = None
    constant: float = 0.0

    def read(self, steps: dict[str, Any], length: int) -> Float32:
        """The axes' values, float32 (length, axes). Raises DataError when it has none."""
        if not self.field:
            return np.full((length, len(self.axes)), self.constant, np.float32)
        if self.field not in steps:
            raise DataError(f"lacks step feature {self.field!r}")
        stop = self.start + (self.count or len(self.axes))
        values = steps[self.field].reshape(length, -1)[:, self.start : stop].astype(np.float32)
        if self.change is None:
            return values
        if not np.isfinite(values).all():  # a change could turn it into a command
            raise DataError(f"step feature {self.field!r} holds NaN or infinity")
        return self.change(values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one data set is told in canonical axes.

    Attributes:
        robot: name of the embodiment.
        hz: control rate.
        cameras: image feature below "steps/observation/" to our name.
        state, action: parts in the order of the vectors' axes.
        language: step features with the words, below "steps/"; the first that has any counts.
        rotation: how the action's rotation axes are to be read (vla.embodiment.ROTATIONS).
        gripper: "open_is_one", or "none" without one.
        edit: last change over the whole episode; also says which steps remain.
        words_change: an episode may hold several instructions; they become subtasks and the
            first is the episode's.
        turned: the pictures were rotated by 180 degrees against what the simulator renders.
        note: what a user must know.
        checked: seen to hold on real files here; otherwise from public definitions only.
    """

    robot: str
    hz: float
    cameras: dict[str, str] = field(hash=False)
    state: tuple[Part, ...]
    action: tuple[Part, ...]
    language: tuple[str, ...] = ("language_instruction",)
    rotation: str = "euler_xyz"
    gripper: str = "open_is_one"
    edit: Edit | None = None
    words_change: bool = True
    turned: bool = False
    note: str = ""
    checked: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that read a field."""
        return tuple(part for part in (*self.state, *self.action) if part.field)


def name_axes(
    names: str, unit: str, *, mode: str = "absolute", frame: str = "base", bound: float = 0.0
) -> tuple[Axis, ...]:
    """Axes of one unit from names separated by blanks, bounded by +-`bound` (default: BOUNDS)."""
    limit = bound or BOUNDS[unit]
    return named_axes(names, unit=unit, low=-limit, high=limit, mode=mode, frame=frame)


def name_joints(count: int, prefix: str = "") -> tuple[Axis, ...]:
    """Absolute joint angles in radians."""
    names = " ".join(f"{prefix}joint{number}" for number in range(1, count + 1))
    return name_axes(names, "rad", frame="joint", bound=2 * TURN)


XYZ = name_axes("x y z", "m")
EULER = name_axes("roll pitch yaw", "rad")
ROTVEC = name_axes("rx ry rz", "rad")
QUATERNION = name_axes("qx qy qz qw", "1")
WIDTH = name_axes("gripper_width", "m")
OPENING = (Axis(name="gripper", unit="1", low=0.0, high=1.0),)


def name_steps(unit: str = "m", turn: str = "rad", *, rotvec: bool = False) -> tuple[Axis, ...]:
    """The six deltas of an end-effector; unit "1" means a normalised command."""
    turns = "drx dry drz" if rotvec else "droll dpitch dyaw"
    return name_axes("dx dy dz", unit, mode="delta") + name_axes(turns, turn, mode="delta")


def take(
    field: str, width: int, axes: tuple[Axis, ...], start: int = 0, *, count: int = 0,
    change: Change | None = None,
) -> Part:  # fmt: skip
    """A part of a feature with `width` numbers a step; 0 for a scalar."""
    shape = (width,) if width else ()
    return Part(field=field, shape=shape, axes=axes, start=start, count=count, change=change)


def fill(axes: tuple[Axis, ...], value: float = 0.0) -> Part:
    """Axes that the data set does not have, so that its actions fit the common seven."""
    return Part(field="", axes=axes, constant=value)


def split_action(gripper: Part, axes: tuple[Axis, ...] | None = None) -> tuple[Part, ...]:
    """The action of Google's conversions: world_vector, rotation_delta and a gripper field."""
    axes = axes or name_steps()
    return (
        take("action/world_vector", 3, axes[:3]),
        take("action/rotation_delta", 3, axes[3:]),
        gripper,
    )


def flat_action(
    width: int, change: Change, axes: tuple[Axis, ...] | None = None, *, start: int = 0
) -> tuple[Part, ...]:
    """The action of later conversions: one vector, six deltas from `start`, then the gripper."""
    return (
        take("action", width, axes or name_steps(), start),
        take("action", width, OPENING, start + 6, change=change),
    )
