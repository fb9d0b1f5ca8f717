"""The contract that data, policies, worlds and robots carry and compare.

An `Embodiment` says what every number means. `require` is called at each
hand-over; it replaces the silent slices, padded dimensions and naming
conventions that make a policy fail without a word.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from vla.errors import ContractError, EmbodimentMismatch, UnknownChoice

MODES = ("absolute", "relative", "delta")
FRAMES = ("base", "tool", "joint")
ROTATIONS = ("none", "rotvec", "euler_xyz", "quaternion_wxyz", "rot6d")
GRIPPERS = ("none", "open_is_one", "open_is_zero")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One scalar of a state or action vector.

    Attributes:
        name: unique within its vector, e.g. "dx" or "joint3".
        unit: SI unit ("m", "rad", "m/s", ...) or "1" for a pure number.
        low, high: hard bounds in that unit, infinite where there is none; a command outside
            them is out of contract.
        mode: "absolute", "relative" (to the chunk's first state) or "delta" (step to step).
        frame: "base", "tool" or "joint".
    """

    name: str
    unit: str
    low: float
    high: float
    mode: str = "absolute"
    frame: str = "base"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownChoice(f"mode of axis {self.name!r}:", self.mode, MODES)
        if self.frame not in FRAMES:
            raise UnknownChoice(f"frame of axis {self.name!r}:", self.frame, FRAMES)
        if not self.low < self.high:
            raise ContractError(
                f"Axis {self.name!r}: low {self.low} is not below high {self.high}."
            )


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One colour camera, named after its place ("front", "wrist").

    Attributes:
        height, width: pixels as the policy sees them.
        source: what makes the picture, with everything that changes its look
            ("mujoco:fast", "realsense d435"); "" when unknown.
        mount: "world" or the link that carries it.
        intrinsics: (fx, fy, cx, cy) in pixels, when known.
    """

    height: int
    width: int
    source: str = ""
    mount: str = "world"
    intrinsics: tuple[float, float, float, float] | None = None

    def resized(self, height: int, width: int) -> "Camera":
        """The same camera after its pictures have been brought to another size."""
        if (height, width) == (self.height, self.width):
            return self
        packed = self.intrinsics
        if packed is not None:
            x, y = width / self.width, height / self.height
            packed = (packed[0] * x, packed[1] * y, packed[2] * x, packed[3] * y)
        return replace(self, height=height, width=width, intrinsics=packed)


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """Axes, units, frames, rate and cameras of one body, the same for all who handle it.

    Attributes:
        name: e.g. "tabletop_arm".
        state, action: axes in the order of the vectors' entries.
        cameras: by name.
        hz: control rate, ticks per second.
        rotation: how rotation axes are to be read (see ROTATIONS).
        gripper: what the gripper axis means (see GRIPPERS).
    """

    name: str
    state: tuple[Axis, ...]
    action: tuple[Axis, ...]
    cameras: dict[str, Camera] = field(hash=False)
    hz: float
    rotation: str = "none"
    gripper: str = "none"

    def __post_init__(self) -> None:
        if self.rotation not in ROTATIONS:
            raise UnknownChoice("rotation", self.rotation, ROTATIONS)
        if self.gripper not in GRIPPERS:
            raise UnknownChoice("gripper convention", self.gripper, GRIPPERS)
        if not self.hz > 0:
            raise ContractError(f"Embodiment {self.name!r}: hz is {self.hz}; it must be positive.")
        for what, axes in (("state", self.state), ("action", self.action)):
            names = [axis.name for axis in axes]
            if len(set(names)) != len(names):
                raise ContractError(f"Embodiment {self.name!r}: {what} axis names repeat: {names}.")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, hex; kept with data, checkpoints, handshakes and logs."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` restores an equal embodiment.

        An axis without a bound has null there, because JSON knows no infinity.
        """
        value = asdict(self)
        for axis in (*value["state"], *value["action"]):
            for bound in ("low", "high"):
                axis[bound] = axis[bound] if math.isfinite(axis[bound]) else None
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Embodiment":
        """Rebuild from `to_json`'s value. Raises ContractError on missing or unknown keys."""
        try:
            cameras = {}
            for name, camera in value["cameras"].items():
                intrinsics = camera.get("intrinsics")
                packed = tuple(intrinsics) if intrinsics is not None else None
                cameras[name] = Camera(**{**camera, "intrinsics": packed})
            axes = {key: tuple(map(_restore_axis, value[key])) for key in ("state", "action")}
            return cls(**{**value, **axes, "cameras": cameras})
        except (KeyError, TypeError, AttributeError) as error:
            raise ContractError(f"Not the JSON of an embodiment: {error}.") from error

    def require(self, other: "Embodiment", *, mine: str, theirs: str) -> None:
        """Stop unless `other` offers exactly what this embodiment needs.

        Cameras that `other` has beyond those needed here are allowed; every axis,
        the rate and the conventions must be equal. The name may differ.

        Args:
            other: the embodiment offered.
            mine: whom this embodiment belongs to, for the message ("policy").
            theirs: whom `other` belongs to ("world").

        Raises:
            EmbodimentMismatch: listing each difference and the remedy.
        """
        lines = _compare_axes("state", self.state, other.state)
        lines += _compare_axes("action", self.action, other.action)
        for key in ("hz", "rotation", "gripper"):
            have, want = getattr(other, key), getattr(self, key)
            if have != want:
                lines.append(f"{key}: {mine} {want!r}, {theirs} {have!r}")
        for name, camera in self.cameras.items():
            offered = other.cameras.get(name)
            if offered is None:
                have = ", ".join(sorted(other.cameras)) or "none"
                lines.append(f"camera {name!r}: missing in {theirs} (it has: {have})")
            elif offered != camera:
                lines.append(f"camera {name!r}: {mine} {camera}, {theirs} {offered}")
        if lines:
            listing = "\n  ".join(lines)
            raise EmbodimentMismatch(
                f"The {mine} ({self.name}) does not fit the {theirs} ({other.name}):\n  {listing}\n"
                f"Use a {mine} made for {other.name!r}, or a {theirs} that offers {self.name!r}."
            )


def _restore_axis(value: dict[str, Any]) -> Axis:
    low = -math.inf if value["low"] is None else value["low"]
    high = math.inf if value["high"] is None else value["high"]
    return Axis(**{**value, "low": low, "high": high})


def _compare_axes(what: str, mine: tuple[Axis, ...], theirs: tuple[Axis, ...]) -> list[str]:
    """One line per differing axis, by position; lines are empty when all agree."""
    lines = []
    if len(mine) != len(theirs):
        lines.append(
            f"{what}: {len(mine)} axes {[a.name for a in mine]} against "
            f"{len(theirs)} {[a.name for a in theirs]}"
        )
        return lines
    for index, (left, right) in enumerate(zip(mine, theirs, strict=True)):
        if left != right:
            a, b = asdict(left), asdict(right)
            parts = ", ".join(f"{k} {a[k]!r} against {b[k]!r}" for k in a if a[k] != b[k])
            lines.append(f"{what} axis {index} ({left.name}): {parts}")
    return lines
