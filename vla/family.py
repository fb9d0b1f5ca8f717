"""Several bodies served by one policy: their axes side by side, their cameras by role.

Axes are matched by meaning, never by position: two bodies share a slot of the joint
vector when name, unit, mode, frame and the rotation or gripper convention agree. A body
without some axis has nothing in that slot, and a mask says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ContractError, EmbodimentMismatch

REACH = 10.0
"""Bounds of the joint axes, which hold normalised values: far outside of all data."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The bodies of one policy.

    Attributes:
        members: the bodies, no two with equal axes, rate and conventions.
        views: per role (the policy's name of a camera) and member, the member's own name of
            that camera, or "" when it has none and the policy sees black.
        sizes: per role (height, width), pixels.

    Raises:
        ContractError: without members or roles.
    """

    members: tuple[Embodiment, ...]
    views: dict[str, tuple[str, ...]]
    sizes: dict[str, tuple[int, int]]

    def __post_init__(self) -> None:
        if not self.members or not self.views:
            raise ContractError("A family needs at least one body and one camera role.")

    @classmethod
    def unite(
        cls,
        bodies: Sequence[Embodiment],
        cameras: Mapping[str, Sequence[str]],
        size: tuple[int, int],
    ) -> tuple["Family", list[int]]:
        """The family of `bodies`, and which member each of them is.

        Bodies that differ in their cameras only are one member, the first of them.

        Args:
            bodies: in order.
            cameras: per role, names to look for in a body, the first found is taken.
            size: (height, width) of every role, pixels.

        Raises:
            ContractError: for a body with none of the cameras.
        """
        members: list[Embodiment] = []
        which = []
        for body in bodies:
            known = next((i for i, m in enumerate(members) if not differences(m, body)), None)
            if known is None:
                known = len(members)
                members.append(body)
            which.append(known)
        found = [find_views(cameras, member) for member in members]
        views = {role: tuple(each[role] for each in found) for role in cameras}
        return cls(members=tuple(members), views=views, sizes=dict.fromkeys(views, size)), which

    @cached_property
    def joint(self) -> Embodiment:
        """The body a network is built for: one normalised axis per slot, one camera per role."""
        state, action = (self._slots(what) for what in ("state", "action"))
        return Embodiment(
            name=" + ".join(dict.fromkeys(member.name for member in self.members)),
            state=tuple(replace(axis, unit="1", low=-REACH, high=REACH) for axis in state),
            action=tuple(replace(axis, unit="1", low=-REACH, high=REACH) for axis in action),
            cameras={
                role: Camera(height=height, width=width)
                for role, (height, width) in self.sizes.items()
            },
            hz=self.members[0].hz,
        )

    def slots(self, what: str, member: int) -> NDArray[np.int64]:
        """Where each of a member's axes lies in the joint vector; `what`: "state" or "action"."""
        keys = list(self._distinct(what))
        body = self.members[member]
        axes: tuple[Axis, ...] = getattr(body, what)
        return np.array([keys.index(_meaning(axis, body)) for axis in axes], np.int64)

    def deployed(self, member: int) -> Embodiment:
        """What a world must offer to be driven as `member`: its cameras at the policy's size."""
        body = self.members[member]
        cameras = {}
        for role, names in self.views.items():
            if names[member]:
                camera = body.cameras[names[member]]
                cameras[names[member]] = camera.resized(*self.sizes[role])
        return replace(body, cameras=cameras)

    def find(self, body: Embodiment) -> int:
        """The member with the axes, rate and conventions of `body`.

        Raises:
            EmbodimentMismatch: when there is none, telling how each member differs.
        """
        for index, member in enumerate(self.members):
            if not differences(member, body):
                return index
        lines = "\n  ".join(f"{m.name}: {', '.join(differences(m, body))}" for m in self.members)
        raise EmbodimentMismatch(
            f"None of the bodies this policy was trained for is {body.name!r}. They differ in:\n"
            f"  {lines}\nTrain with data of this body among data.weights."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` restores an equal family."""
        return {
            "members": [member.to_json() for member in self.members],
            "views": {role: list(names) for role, names in self.views.items()},
            "sizes": {role: list(size) for role, size in self.sizes.items()},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Family":
        """Rebuild from `to_json`'s value. Raises ContractError."""
        try:
            return cls(
                members=tuple(Embodiment.from_json(member) for member in value["members"]),
                views={role: tuple(names) for role, names in value["views"].items()},
                sizes={role: (int(h), int(w)) for role, (h, w) in value["sizes"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContractError(f"Not the JSON of a family: {error!r}.") from error

    def _distinct(self, what: str) -> dict[tuple[str, ...], Axis]:
        """The axes of all members, each meaning once, in order of appearance."""
        axes: dict[tuple[str, ...], Axis] = {}
        for member in self.members:
            for axis in getattr(member, what):
                axes.setdefault(_meaning(axis, member), axis)
        return axes

    def _slots(self, what: str) -> tuple[Axis, ...]:
        """The distinct axes under names that do not repeat."""
        meanings = self._distinct(what)
        names = [axis.name for axis in meanings.values()]
        return tuple(
            axis
            if names.count(axis.name) == 1
            else replace(axis, name=f"{axis.name} ({', '.join(filter(None, meaning[1:]))})")
            for meaning, axis in meanings.items()
        )


def find_views(cameras: Mapping[str, Sequence[str]], body: Embodiment) -> dict[str, str]:
    """Per role the body's camera of the first name it has, or "" without one.

    Raises:
        ContractError: when it has none of them.
    """
    views = {
        role: next((name for name in names if name in body.cameras), "")
        for role, names in cameras.items()
    }
    if not any(views.values()):
        known = ", ".join(name for names in cameras.values() for name in names)
        raise ContractError(
            f"{body.name!r} has no camera called {known} (it has: {', '.join(body.cameras)}). "
            "Name one of them in data.cameras, e.g. 'data.cameras={primary: [top]}'."
        )
    return views


def differences(one: Embodiment, other: Embodiment) -> list[str]:
    """What two bodies do not share besides cameras and names, in words; empty when nothing."""
    found = [what for what in ("hz", "rotation", "gripper")
             if getattr(one, what) != getattr(other, what)]  # fmt: skip
    for what in ("state", "action"):
        mine, theirs = ([asdict(axis) for axis in getattr(body, what)] for body in (one, other))
        if mine != theirs:
            found.append(f"{what} axes")
    return found


def _meaning(axis: Axis, body: Embodiment) -> tuple[str, ...]:
    """What must agree for two axes to share a slot; conventions count where they apply."""
    rotation = body.rotation if axis.unit == "rad" and axis.frame != "joint" else ""
    gripper = body.gripper if axis.unit == "1" else ""
    return (axis.name, axis.unit, axis.mode, axis.frame, rotation, gripper)
