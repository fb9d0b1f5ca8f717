"""Axes that change what lies on the table and where."""

from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import mujoco
import numpy as np

from envs.draft import AREA, GAP, is_free
from envs.layout import COLOURS, LANE, PAD_HALF, SHAPES, X_RANGE, Y_RANGE, Layout, Thing, is_clear
from envs.perturbations.edits import ModelEdits
from envs.perturbations.perturbation import Perturbation
from envs.scene import add_object, place_object
from envs.task import Assignment
from vla.errors import DataError

_TRIES = 20_000
_AREA = ((0.32, 0.70), (-0.22, 0.22))
"""Where distractors lie, metres in x and y: what the front camera sees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distractors(Perturbation):
    """More objects, of colours and shapes that together name nothing else in the scene.

    They keep clear of the objects, the pads and the lane in which the named object is pushed.
    """

    axis: ClassVar[str] = "distractors"
    changes: ClassVar[str] = (
        "More objects lie on the table; the instruction names none of them and they leave its "
        "paths free."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {"objects": (1, 2, 3, 4, 5)}

    def prepare(self, spec: mujoco.MjSpec) -> None:
        """See Perturbation."""
        slots = sum(body.name.startswith("object") for body in spec.bodies)
        for slot in range(slots, slots + int(self.amount("objects"))):
            add_object(spec, slot)
            for shape in SHAPES:
                geom = spec.geom(f"object{slot}_{shape}")
                geom.rgba = (0, 0, 0, 0)
                geom.contype = geom.conaffinity = 0

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """See Perturbation. Raises DataError when the table is full."""
        for name in ("rgba", "contype", "conaffinity", "size", "aabb", "rbound"):
            edits.array(f"geom_{name}")
        slots = len(assignment.layout.things)
        for slot, thing in enumerate(self.draw(assignment, seed), start=slots):
            place_object(edits.model, edits.data, slot, thing)

    def draw(self, assignment: Assignment, seed: int) -> list[Thing]:
        """The extra objects; those of a lower level come first."""
        rng, layout = self.rng(seed), assignment.layout
        present = {(thing.colour, thing.shape) for thing in layout.things}
        kinds = [kind for kind in product(COLOURS, SHAPES) if kind not in present]
        if assignment.spare is not None:
            # Where words mean a whole group ("all red objects"), more of some kinds would be asked
            # for; of the others there may be too few, so that some come twice.
            kinds = [*(kind for kind in assignment.spare if kind not in present), *assignment.spare]
            kinds *= 3
        order, extra = rng.permutation(len(kinds)), []
        for number in range(int(self.amount("objects"))):
            colour, shape = kinds[order[number]]
            x, y = self._find_place(rng, assignment, [*layout.things, *extra])
            yaw = float(rng.uniform(-np.pi, np.pi))
            extra.append(Thing(colour=colour, shape=shape, x=x, y=y, yaw=yaw))
        return extra

    def _find_place(
        self, rng: np.random.Generator, assignment: Assignment, taken: list[Thing]
    ) -> tuple[float, float]:
        spots = np.array([(thing.x, thing.y) for thing in taken])
        pads = np.array([(pad.x, pad.y) for pad in assignment.layout.pads]).reshape(-1, 2)
        spots = np.vstack([spots, np.reshape(assignment.spots, (-1, 2))])
        for _ in range(_TRIES):
            x, y = rng.uniform(*_AREA[0]), rng.uniform(*_AREA[1])
            if assignment.side is not None and abs(x - assignment.thing.x) < 0.06:
                continue
            # 7 cm: the open gripper (11 cm with its fingers) over a neighbour does not touch it.
            if np.hypot(*(spots - (x, y)).T).min() < 0.07:
                continue
            if np.abs(pads - (x, y)).max(axis=1).min(initial=1.0) <= PAD_HALF + 0.03:
                continue
            if is_free((x, y), (), assignment.layout.fixtures, room=0.045):
                return float(x), float(y)
        raise DataError(f"No free place for {len(taken) + 1} objects on the table was found.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutShift(Perturbation):
    """The objects lie elsewhere, the named one outside the rectangle that training draws from.

    The area grows by the level's ranges; the named object lies in what is new at this level.
    """

    axis: ClassVar[str] = "layout"
    changes: ClassVar[str] = (
        "Objects lie elsewhere in a larger area; the named one lies outside the area of training, "
        "in reach. Where places depend on each other, all of it is shifted by the range."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "beyond_x_m": (0.008, 0.016, 0.024, 0.032, 0.04),
        "beyond_y_m": (0.007, 0.014, 0.021, 0.028, 0.035),
    }

    def reassign(self, assignment: Assignment, seed: int) -> Assignment:
        """See Perturbation. Raises DataError when no such arrangement is found."""
        if not self.level:
            return assignment
        if assignment.pairs:
            return self._reassign_suite(assignment, seed)
        rng, layout = self.rng(seed), assignment.layout
        beyond = np.array([self.amount("beyond_x_m"), self.amount("beyond_y_m")])
        bounds = np.array([X_RANGE, Y_RANGE]).T
        middle, half = bounds.mean(axis=0), np.ptp(bounds, axis=0) / 2
        pads = np.array([(pad.x, pad.y) for pad in layout.pads])
        for _ in range(_TRIES):
            spots = middle + rng.uniform(-1, 1, (len(layout.things), 2)) * (half + beyond)
            out = (np.abs(spots[assignment.target] - middle) - half) / beyond
            new = 1 - 1 / self.level < out.max() <= 1
            if new and np.diff(np.sort(spots[:, 0])).min() >= LANE and is_clear(pads, spots):
                return replace(assignment, layout=_move(layout, spots))
        raise DataError(f"No arrangement for layout:{self.level} was found at seed {seed}.")

    def _reassign_suite(self, assignment: Assignment, seed: int) -> Assignment:
        """The named object alone, or a loose one, lies outside the area of training."""
        if assignment.spots or assignment.option in ("nearest", "middle"):
            return self._shift(assignment)
        rng, layout = self.rng(seed), assignment.layout
        index = assignment.target or 0
        others = [t for i, t in enumerate(layout.things) if i != index]
        beyond = np.array([self.amount("beyond_x_m"), self.amount("beyond_y_m")])
        bounds = np.array(AREA).T
        middle, half = bounds.mean(axis=0), np.ptp(bounds, axis=0) / 2
        for _ in range(_TRIES):
            spot = middle + rng.uniform(-1, 1, 2) * (half + beyond)
            out = ((np.abs(spot - middle) - half) / beyond).max()
            x, y = map(float, spot)
            if 1 - 1 / self.level < out and is_free((x, y), others, layout.fixtures, gap=GAP):
                moved = replace(layout.things[index], x=x, y=y)
                things = (*layout.things[:index], moved, *layout.things[index + 1 :])
                return replace(assignment, layout=replace(layout, things=things))
        raise DataError(f"No arrangement for layout:{self.level} was found at seed {seed}.")

    def _shift(self, assignment: Assignment) -> Assignment:
        """All of it moved outwards: lanes, free spots and who is in the middle stay true."""
        layout, first = assignment.layout, assignment.layout.things[0]
        dx = np.copysign(self.amount("beyond_x_m"), first.x - np.mean(AREA[0]))
        dy = np.copysign(self.amount("beyond_y_m"), first.y - np.mean(AREA[1]))

        def move(placed):
            return tuple(replace(it, x=float(it.x + dx), y=float(it.y + dy)) for it in placed)

        moved = replace(
            layout,
            things=move(layout.things),
            pads=move(layout.pads),
            fixtures=move(layout.fixtures),
        )
        spots = tuple((float(x + dx), float(y + dy)) for x, y in assignment.spots)
        return replace(assignment, layout=moved, spots=spots)


def _move(layout: Layout, spots: np.ndarray) -> Layout:
    pairs = zip(layout.things, spots.tolist(), strict=True)
    return replace(layout, things=tuple(replace(thing, x=x, y=y) for thing, (x, y) in pairs))


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectSwap(Perturbation):
    """Other objects of the same name: wider or slimmer, taller or flatter; a ball stays round."""

    axis: ClassVar[str] = "object_swap"
    changes: ClassVar[str] = (
        "Each object is another one of the same name: wider or slimmer, taller or flatter "
        "(a ball: larger or smaller)."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "width_share": (0.05, 0.10, 0.16, 0.22, 0.28),
        "height_share": (0.06, 0.12, 0.18, 0.25, 0.32),
    }

    def reassign(self, assignment: Assignment, seed: int) -> Assignment:
        """See Perturbation."""
        rng = self.rng(seed)
        things = []
        compared = assignment.option in ("largest", "smallest")
        wide = high = 0.0
        for thing in assignment.layout.things:
            # What is compared by size stays in that order: the same factors for all.
            if not (compared and things):
                wide, high = rng.choice([-1.0, 1.0], size=2)
            if thing.shape == "peg":  # must still fit its hole
                wide = -1.0
            width = 1.0 + wide * self.amount("width_share")
            height = 1.0 + high * self.amount("height_share")
            height = width if thing.shape == "ball" else height
            stretch = (thing.stretch[0] * width, thing.stretch[1] * height)
            things.append(replace(thing, stretch=stretch))
        return replace(assignment, layout=replace(assignment.layout, things=tuple(things)))
