"""What lies on the table: coloured objects, flat pads and fixtures; the classic tasks' scenes.

Frame: the arm's base; x points away from the arm, y to its left, z up; the table's top is z = 0.
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("cube", "ball", "can")
UNSEEN_COLOURS = ("purple", "orange")
UNSEEN_SHAPES = ("brick", "puck")
"""Words that only `split=unseen` uses (see envs.splits)."""

HALF_HEIGHT = {
    "cube": 0.0225, "ball": 0.024, "can": 0.029, "brick": 0.018, "puck": 0.014, "peg": 0.036,
}  # fmt: skip
"""Metres from the table to an upright object's centre."""
HALF_WIDTH = {
    "cube": 0.0225, "ball": 0.024, "can": 0.022, "brick": 0.017, "puck": 0.025, "peg": 0.0125,
}  # fmt: skip
"""Metres from an object's axis to the surface that the fingers touch."""
BRICK_HALF_LENGTH = 0.030
"""Metres; a brick is as wide as the fingers grasp it, and longer the other way."""

PAD_HALF = 0.045
"""Half the side of a square pad, metres."""
STRIP_EDGE = 0.17
"""|y| in metres beyond which the left (y > 0) and right (y < 0) side strips begin."""
FAR_EDGE = 0.655
"""x in metres beyond which the far strip begins."""

X_RANGE = (0.36, 0.64)
Y_RANGE = (-0.12, 0.12)
"""Metres within which objects start."""
LANE = 0.085
"""Least difference of two objects' x: the open gripper fits between, and a push along y is free."""
_YAW = np.deg2rad(30.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object: its words and where it starts (metres, radians about z).

    `stretch` are factors of its width and height; demonstrations know (1, 1) only. A ball stays
    round, so both of its factors are equal.
    """

    colour: str
    shape: str
    x: float
    y: float
    yaw: float
    stretch: tuple[float, float] = (1.0, 1.0)

    @property
    def name(self) -> str:
        """The words that single it out, e.g. "red cube"."""
        return f"{self.colour} {self.shape}"

    @property
    def half_width(self) -> float:
        """Metres from the axis to the surface that the fingers touch."""
        return HALF_WIDTH[self.shape] * self.stretch[0]

    @property
    def half_height(self) -> float:
        """Metres from the table to the centre of the upright object."""
        return HALF_HEIGHT[self.shape] * self.stretch[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pad:
    """One flat square destination that nothing collides with (metres)."""

    colour: str
    x: float
    y: float

    @property
    def name(self) -> str:
        """The words that single it out, e.g. "blue pad"."""
        return f"{self.colour} pad"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixture:
    """One thing that stands on the table and cannot be carried; see envs.fixtures.

    Attributes:
        kind: "bowl", "plate", "drawer", "button", "knob", "round_hole" or "square_hole".
        colour: word of what is painted on it.
        x: metres; the origin of the kind's drawing.
        y: metres.
        value: where its joint starts: metres a drawer is open, radians a knob is turned.
    """

    kind: str
    colour: str
    x: float = 0.0
    y: float = 0.0
    value: float = 0.0

    @property
    def name(self) -> str:
        """The words that single it out, e.g. "blue bowl"."""
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One arrangement, and where the fingertip point starts, (x, y, z) in metres."""

    things: tuple[Thing, ...]
    pads: tuple[Pad, ...]
    start: tuple[float, float, float]
    fixtures: tuple[Fixture, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenery:
    """What a task's scenes are compiled with; a layout says where it is and how it looks.

    Attributes:
        slots: objects that can be carried.
        pads: flat square destinations.
        strips: names of the side strips, of "left", "right" and "far".
        fixtures: their kinds, in the order of `Layout.fixtures`.
        shapes: what an object can be.
    """

    slots: int = 3
    pads: int = 2
    strips: tuple[str, ...] = ("left", "right")
    fixtures: tuple[str, ...] = ()
    shapes: tuple[str, ...] = SHAPES


def sample_layout(rng: np.random.Generator) -> Layout:
    """Draw a layout; every task draws from this one distribution.

    The three objects differ in colour or shape, and often share one of the two, so that an
    instruction needs both words. Their x differ by at least 8.5 cm; nothing overlaps.
    """
    kinds = _sample_kinds(rng)
    while True:
        spots = np.column_stack([rng.uniform(*X_RANGE, 3), rng.uniform(*Y_RANGE, 3)])
        if np.diff(np.sort(spots[:, 0])).min() < LANE:
            continue
        pads = _sample_pads(rng, spots)
        if pads is not None:
            break
    yaws = rng.uniform(-_YAW, _YAW, 3)
    things = tuple(
        Thing(colour=colour, shape=shape, x=float(x), y=float(y), yaw=float(yaw))
        for (colour, shape), (x, y), yaw in zip(kinds, spots, yaws, strict=True)
    )
    colours = rng.choice(COLOURS, size=2, replace=False)
    flat = tuple(
        Pad(colour=str(c), x=float(x), y=float(y)) for c, (x, y) in zip(colours, pads, strict=True)
    )
    start = np.array([0.42, 0.0, 0.22]) + rng.uniform(-1.0, 1.0, 3) * [0.03, 0.05, 0.02]
    return Layout(things=things, pads=flat, start=tuple(float(v) for v in start))


def _sample_kinds(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Three distinct (colour, shape) pairs; the second shares a word with the first."""
    pairs = list(product(COLOURS, SHAPES))
    first = pairs[rng.integers(len(pairs))]
    word = int(rng.integers(2))
    kin = [p for p in pairs if p != first and p[word] == first[word]]
    second = kin[rng.integers(len(kin))]
    rest = [p for p in pairs if p not in (first, second)]
    kinds = [first, second, rest[rng.integers(len(rest))]]
    return [kinds[i] for i in rng.permutation(3)]


def _sample_pads(rng: np.random.Generator, spots: np.ndarray) -> np.ndarray | None:
    """Centres (2, 2) of pads clear of the objects at `spots` (3, 2) and of each other, or None."""
    for _ in range(20):
        pads = np.column_stack([rng.uniform(0.38, 0.62, 2), rng.uniform(-0.10, 0.10, 2)])
        apart = np.abs(pads[0] - pads[1]).max() > 2 * PAD_HALF + 0.01
        if apart and is_clear(pads, spots):
            return pads
    return None


def is_clear(pads: np.ndarray, spots: np.ndarray) -> bool:
    """Whether objects at `spots` (n, 2) leave the pads at `pads` (m, 2) free; metres."""
    gaps = np.linalg.norm(pads[:, None] - spots[None], axis=2)
    return bool(gaps.min() > PAD_HALF + 0.04)
