"""Templates 2, 7, 8 and 9: what goes into the bowl."""

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word, draw_words
from envs.fixtures import BOWL_INNER, BOWL_WALL
from envs.layout import COLOURS, SHAPES, Fixture, Layout
from envs.splits import EXTREMES, colours, shapes
from envs.suite import Settled, SuiteTask, furnish, rise_of
from envs.task import Assignment, SceneState

_MARGIN = 0.03
"""Metres by which the nearest, or the middle, must be told apart."""


def lies_in(state: SceneState, assignment: Assignment, index: int) -> bool:
    """Whether object `index` is inside the named bowl, held or not."""
    off = np.linalg.norm(state.things[index, :2] - assignment.goal)
    return bool(off < BOWL_INNER - 0.008 and rise_of(state, assignment, index) < BOWL_WALL + 0.012)


class IntoBowl(SuiteTask):
    """Done when the named objects, and no others, lie in the named bowl, let go."""

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        if state.touched.any():
            return False
        inside = {i for i in range(len(state.things)) if lies_in(state, assignment, i)}
        return inside == set(assignment.named)


class Bowl(IntoBowl):
    """Template 2: put the named object in the bowl of the named colour; there are two bowls."""

    name = "bowl"
    horizon = 150
    scenery = furnish("bowl", "bowl")
    templates = (
        "put the {thing} in the {bowl}",
        "place the {thing} inside the {bowl}",
        "drop the {thing} into the {bowl}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        colour, shape = draw_word(rng, colours(self.split)), draw_word(rng, shapes(self.split))
        first, second = draw_words(rng, colours(self.split), 2)
        target = Kind(colour=colour, shape=shape)
        company = draw_company(rng, self.split, [target.words], 2)
        return Draft(
            kinds=[target, *company],
            fixtures=[Fixture(kind="bowl", colour=first), Fixture(kind="bowl", colour=second)],
            words={"thing": target.name, "bowl": f"{first} bowl"},
            others={"thing": company[0].name, "bowl": f"{second} bowl"},
            pairs=[target.words, (colour, first)],
            fixture=0,
        )


class Comparison(IntoBowl):
    """Template 7: the largest, smallest, nearest (to the arm) or middle of three of one shape."""

    name = "comparison"
    horizon = 150
    scenery = furnish("bowl", slots=4)
    templates = (
        "put the {which} {shape} in the bowl",
        "place the {which} {shape} inside the bowl",
        "the {which} {shape} goes into the bowl",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        which, shape = draw_word(rng, EXTREMES), draw_word(rng, shapes(self.split))
        paints = draw_words(rng, COLOURS, 3)
        sizes = [0.72, 1.0, 1.25]
        order = [0, 1, 2] if which == "smallest" else [2, 0, 1]
        if which in ("nearest", "middle"):
            order = [int(i) for i in rng.permutation(3)]
        three = [
            Kind(colour=paint, shape=shape, stretch=(sizes[i], sizes[i]))
            for paint, i in zip(paints, order, strict=True)
        ]
        stranger = Kind(
            colour=draw_word(rng, COLOURS), shape=draw_word(rng, _without(SHAPES, shape))
        )
        others = {"largest": "smallest", "smallest": "largest", "nearest": "middle"}
        return Draft(
            kinds=[*three, stranger],
            fixtures=[Fixture(kind="bowl", colour=draw_word(rng, COLOURS))],
            words={"which": which, "shape": shape},
            others={"which": others.get(which, "nearest"), "shape": shape},
            pairs=[(which, shape)],
            fixture=0,
            option=which,
            spare=tuple((c, s) for c in COLOURS for s in _without(SHAPES, shape)),
        )

    def settle(self, rng: np.random.Generator, layout: Layout, draft: Draft) -> Settled | None:
        """See SuiteTask; what is nearest or in the middle must be so clearly."""
        first, *rest = layout.things[:3]
        if draft.option == "nearest":
            clear = np.hypot(first.x, first.y) + _MARGIN < min(np.hypot(t.x, t.y) for t in rest)
        elif draft.option == "middle":
            right, left = sorted(thing.y for thing in rest)
            clear = right + _MARGIN < first.y < left - _MARGIN
        else:
            clear = True
        return (layout, ()) if clear else None


class Collect(IntoBowl):
    """Template 8: every object of one colour, two or three of four."""

    name = "collect"
    horizon = 330
    scenery = furnish("bowl", slots=4)
    templates = (
        "put all the {colour} objects in the bowl",
        "gather everything {colour} in the bowl",
        "all {colour} things go into the bowl",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        colour, other = draw_words(rng, colours(self.split), 2)
        count = int(rng.integers(2, 4))
        kinds = [
            Kind(colour=colour, shape=shape) for shape in draw_words(rng, shapes(self.split), count)
        ]
        taken = [kind.words for kind in kinds]
        rest = draw_company(rng, self.split, [*taken, *((colour, s) for s in SHAPES)], 4 - count)
        bowl = draw_word(rng, _without(COLOURS, colour))
        return Draft(
            kinds=[*kinds, *rest],
            fixtures=[Fixture(kind="bowl", colour=bowl)],
            words={"colour": colour},
            others={"colour": rest[0].colour if rest else other},
            pairs=[*taken, (colour, bowl)],
            named=tuple(range(count)),
            fixture=0,
            spare=tuple((c, s) for c in _without(COLOURS, colour) for s in SHAPES),
        )


class Order(IntoBowl):
    """Template 9: first one object, then another; the first must be in before the second."""

    name = "order"
    horizon = 260
    scenery = furnish("bowl")
    templates = (
        "put the {first} and then the {second} in the bowl",
        "first the {first}, then the {second} goes into the bowl",
        "place the {first} in the bowl, after it the {second}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        pair = [
            Kind(
                colour=draw_word(rng, colours(self.split)), shape=draw_word(rng, shapes(self.split))
            )
            for _ in range(2)
        ]
        if pair[0] == pair[1]:
            pair[1] = draw_company(rng, self.split, [pair[0].words], 1)[0]
        taken = [kind.words for kind in pair]
        first, second = pair
        return Draft(
            kinds=[*pair, *draw_company(rng, self.split, taken, 1)],
            fixtures=[Fixture(kind="bowl", colour=draw_word(rng, COLOURS))],
            words={"first": first.name, "second": second.name},
            others={"first": second.name, "second": first.name},
            pairs=taken,
            named=(0, 1),
            fixture=0,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task; the order is that of the last grasps."""
        first, second = (state.past.grasped_at[index] for index in assignment.named)
        return super().success(state, assignment) and first < second


def _without(words: tuple[str, ...], word: str) -> tuple[str, ...]:
    return tuple(other for other in words if other != word)
