"""Template 6: where to put one object is told from another."""

import numpy as np

from envs.draft import AREA, Draft, Kind, draw_company, draw_word, is_free
from envs.layout import Layout
from envs.splits import RELATIONS, colours, shapes
from envs.suite import Settled, SuiteTask, drift, furnish, rests
from envs.task import Assignment, SceneState

DIRECTIONS = {
    "left": (0.0, 1.0), "right": (0.0, -1.0), "front": (-1.0, 0.0), "behind": (1.0, 0.0),
}  # fmt: skip
"""As the arm sees it: y is to its left, what is nearer to it is in front."""
_PHRASES = {"left": "left of", "right": "right of", "front": "in front of", "behind": "behind"}
_AWAY = 0.105
_NEAR, _FAR, _ASIDE = 0.05, 0.17, 0.05
"""Metres that the object may be from the other one, along the direction and across it."""


class Relation(SuiteTask):
    """Done when the object stands 5 to 17 cm off the other one in the named direction, let go."""

    name = "relation"
    horizon = 150
    scenery = furnish()
    templates = (
        "put the {thing} {relation} the {other}",
        "move the {thing} {relation} the {other}",
        "place the {thing} {relation} the {other}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        relation = draw_word(rng, RELATIONS)
        target = Kind(
            colour=draw_word(rng, colours(self.split)), shape=draw_word(rng, shapes(self.split))
        )
        company = draw_company(rng, self.split, [target.words], 2)
        opposite = RELATIONS[RELATIONS.index(relation) ^ 1]
        words = {"thing": target.name, "relation": _PHRASES[relation], "other": company[0].name}
        return Draft(
            kinds=[target, *company],
            words=words,
            others=words | {"relation": _PHRASES[opposite]},
            pairs=[target.words, (target.colour, relation)],
            option=relation,
        )

    def settle(self, rng: np.random.Generator, layout: Layout, draft: Draft) -> Settled | None:
        """See SuiteTask; there must be room, and something to do."""
        thing, other, last = layout.things
        direction = np.array(DIRECTIONS[draft.option])
        goal = np.array([other.x, other.y]) + _AWAY * direction
        inside = all(
            low - 0.03 < v < high + 0.03 for v, (low, high) in zip(goal, AREA, strict=True)
        )
        spot = (float(goal[0]), float(goal[1]))
        if (
            not inside
            or not is_free(spot, (last,), ())
            or _is_beside(np.array([thing.x - other.x, thing.y - other.y]), direction)
        ):
            return None
        return layout, (spot,)

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task; the other object must have stayed within 3 cm of its place."""
        gap = state.things[0, :2] - state.things[1, :2]
        placed = _is_beside(gap, np.array(DIRECTIONS[assignment.option]))
        return placed and rests(state, assignment, 0) and drift(state, assignment, 1) < 0.03


def _is_beside(gap: np.ndarray, direction: np.ndarray) -> bool:
    along, across = float(gap @ direction), float(abs(gap @ direction[::-1]))
    return _NEAR < along < _FAR and across < _ASIDE
