"""Questions about a layout with exact answers, drawn at random.

Left and right are the arm's, as in the instructions; "further" is further away from the arm.
"""

from collections.abc import Callable

import numpy as np

from envs.layout import COLOURS, SHAPES, Layout, Thing

Asked = tuple[str, str, str]
"""Question, answer, kind."""

KINDS = ("colour", "shape", "count", "exists", "position", "comparison", "caption")
_APART = 0.03  # metres; what differs less is not asked about


def ask(layout: Layout, rng: np.random.Generator, count: int) -> list[Asked]:
    """`count` questions about the things of `layout`, of kinds drawn evenly; never one twice.

    Kinds that this layout has no question of are left out; where all are used up, there are
    fewer than `count`.
    """
    found: dict[str, Asked] = {}
    for _ in range(20 * count):
        kind = str(rng.choice(KINDS))
        asked = _ASKERS[kind](layout.things, rng)
        if asked is not None:
            found.setdefault(asked[0], (*asked, kind))
        if len(found) == count:
            break
    return list(found.values())


def _pick(things: tuple[Thing, ...], rng: np.random.Generator) -> Thing:
    return things[int(rng.integers(len(things)))]


def _ask_colour(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    thing = _pick(things, rng)
    alone = sum(other.shape == thing.shape for other in things) == 1
    return (f"what colour is the {thing.shape}?", thing.colour) if alone else None


def _ask_shape(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    thing = _pick(things, rng)
    alone = sum(other.colour == thing.colour for other in things) == 1
    return (f"what shape is the {thing.colour} object?", thing.shape) if alone else None


def _ask_count(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    if rng.integers(2):
        colour = str(rng.choice(COLOURS))
        number = sum(thing.colour == colour for thing in things)
        return f"how many {colour} objects are there?", str(number)
    shape = str(rng.choice(SHAPES))
    number = sum(thing.shape == shape for thing in things)
    return f"how many {shape}s are there?", str(number)


def _ask_exists(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    there = {thing.name for thing in things}
    if rng.integers(2):
        return f"is there a {_pick(things, rng).name}?", "yes"
    name = f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}"
    return None if name in there else (f"is there a {name}?", "no")


def _ask_position(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    thing = _pick(things, rng)
    if abs(thing.y) < _APART / 2:
        return None
    return f"on which side is the {thing.name}?", "left" if thing.y > 0 else "right"


def _ask_comparison(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    one, two = (things[int(i)] for i in rng.permutation(len(things))[:2])
    if rng.integers(2):
        gap, words = one.x - two.x, "further"
    else:
        gap, words = one.y - two.y, "further left"
    if abs(gap) < _APART:
        return None
    return f"is the {one.name} {words} than the {two.name}?", "yes" if gap > 0 else "no"


def _ask_caption(things: tuple[Thing, ...], rng: np.random.Generator) -> tuple[str, str] | None:
    first, second, *rest = (f"a {thing.name}" for thing in sorted(things, key=lambda t: -t.y))
    return "describe the objects from left to right", ", ".join([first, second, *rest])


_Asker = Callable[[tuple[Thing, ...], np.random.Generator], tuple[str, str] | None]
_ASKERS: dict[str, _Asker] = {
    "colour": _ask_colour,
    "shape": _ask_shape,
    "count": _ask_count,
    "exists": _ask_exists,
    "position": _ask_position,
    "comparison": _ask_comparison,
    "caption": _ask_caption,
}
