"""Drafts of scenes: which kinds of things stand on the table, and free places for them."""

from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from envs.fixtures import FOOTPRINT
from envs.layout import COLOURS, SHAPES, Fixture, Layout, Thing
from envs.splits import TRAINED_PAIRS, Pair, admits

AREA = ((0.37, 0.63), (-0.17, 0.17))
"""Metres in x and y within which objects of the suite start."""
GAP = 0.095
"""Least distance of two objects, metres: the open gripper fits between."""
_ROOM = 0.058
"""Metres that the open gripper needs between an object's axis and a fixture."""
_YAW = np.deg2rad(30.0)
_PLACES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "drawer": ((0.335, 0.345), (-0.13, 0.13)),
}
_MIDDLE = ((0.41, 0.59), (-0.14, 0.14))


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What an object is to be: its two words, and factors of its width and height."""

    colour: str
    shape: str
    stretch: tuple[float, float] = (1.0, 1.0)

    @property
    def words(self) -> tuple[str, str]:
        """Colour and shape."""
        return self.colour, self.shape

    @property
    def name(self) -> str:
        """The words that single it out, e.g. "red cube"."""
        return f"{self.colour} {self.shape}"


@dataclass(kw_only=True, slots=True)
class Draft:
    """A scene before things have places; fields as in Assignment.

    Attributes:
        kinds: the objects; at least one.
        words: what fills the templates.
        others: what fills the canonical template to name something else.
        templates: instead of the task's, where it has several forms.
    """

    kinds: list[Kind]
    words: dict[str, str]
    others: dict[str, str]
    fixtures: list[Fixture] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    target: int | None = 0
    named: tuple[int, ...] = (0,)
    fixture: int | None = None
    option: str = ""
    templates: tuple[str, ...] = ()
    spare: tuple[Pair, ...] | None = None


def draw_word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """One of `words`."""
    return words[int(rng.integers(len(words)))]


def draw_words(rng: np.random.Generator, words: tuple[str, ...], count: int) -> list[str]:
    """`count` different ones of `words`."""
    return [words[i] for i in rng.permutation(len(words))[:count]]


def draw_company(
    rng: np.random.Generator, split: str, taken: list[Pair], count: int, *, kin: bool = True
) -> list[Kind]:
    """Objects beside the named ones `taken`; with `kin` the first shares a word with the first.

    In training they too are of trained combinations only.
    """
    seen = "train" if split in TRAINED_PAIRS else "all"
    free = [p for p in product(COLOURS, SHAPES) if p not in taken and admits(seen, [p])]
    free = [free[i] for i in rng.permutation(len(free))]
    if kin:
        word = int(rng.integers(2))
        alike = next((pair for pair in free if pair[word] == taken[0][word]), free[0])
        free.sort(key=lambda pair: pair != alike)
    return [Kind(colour=colour, shape=shape) for colour, shape in free[:count]]


def lay_out(rng: np.random.Generator, draft: Draft) -> Layout | None:
    """Free places for the draft's things; None when chance has left too little room."""
    fixtures: list[Fixture] = []
    for fixture in draft.fixtures:
        placed = _place_fixture(rng, fixture, fixtures)
        if placed is None:
            return None
        fixtures.append(placed)
    things: list[Thing] = []
    for kind in draft.kinds:
        spot = find_place(rng, things, fixtures)
        if spot is None:
            return None
        things.append(
            Thing(
                colour=kind.colour,
                shape=kind.shape,
                x=spot[0],
                y=spot[1],
                yaw=float(rng.uniform(-_YAW, _YAW)),
                stretch=kind.stretch,
            )
        )
    start = np.array([0.42, 0.0, 0.22]) + rng.uniform(-1.0, 1.0, 3) * [0.03, 0.05, 0.02]
    return Layout(
        things=tuple(things),
        pads=(),
        start=tuple(float(v) for v in start),
        fixtures=tuple(fixtures),
    )


def find_place(
    rng: np.random.Generator, things: list[Thing], fixtures: list[Fixture], *, tries: int = 60
) -> tuple[float, float] | None:
    """A spot (x, y) where the open gripper fits between everything there is, or None."""
    for _ in range(tries):
        spot = (float(rng.uniform(*AREA[0])), float(rng.uniform(*AREA[1])))
        if is_free(spot, things, fixtures):
            return spot
    return None


def is_free(
    spot: tuple[float, float],
    things: list[Thing] | tuple[Thing, ...],
    fixtures: list[Fixture] | tuple[Fixture, ...],
    *,
    gap: float = GAP,
    room: float = _ROOM,
) -> bool:
    """Whether `spot` keeps `gap` metres from objects and `room` from the fixtures' edges."""
    if any(np.hypot(spot[0] - thing.x, spot[1] - thing.y) < gap for thing in things):
        return False
    return all(
        np.hypot(spot[0] - x, spot[1] - y) > radius + room
        for fixture in fixtures
        for x, y, radius in list_circles(fixture)
    )


def list_circles(fixture: Fixture) -> list[tuple[float, float, float]]:
    """Circles (x, y, radius) in metres that cover a fixture."""
    return [(fixture.x + away, fixture.y, radius) for away, radius in FOOTPRINT[fixture.kind]]


def _place_fixture(
    rng: np.random.Generator, fixture: Fixture, there: list[Fixture]
) -> Fixture | None:
    (low, high), (right, left) = _PLACES.get(fixture.kind, _MIDDLE)
    for _ in range(60):
        placed = replace(
            fixture, x=float(rng.uniform(low, high)), y=float(rng.uniform(right, left))
        )
        if all(
            np.hypot(x - a, y - b) > radius + size + 0.02
            for x, y, radius in list_circles(placed)
            for other in there
            for a, b, size in list_circles(other)
        ):
            return placed
    return None
