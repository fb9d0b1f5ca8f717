"""Template 5: push the named object to a region without lifting it."""

from dataclasses import replace

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word
from envs.layout import FAR_EDGE, STRIP_EDGE, Layout
from envs.splits import REGIONS, colours, shapes
from envs.suite import Settled, SuiteTask, furnish, rise_of
from envs.task import Assignment, SceneState

DIRECTIONS = {"left": (0.0, 1.0), "right": (0.0, -1.0), "far": (1.0, 0.0)}
_EDGES = {"left": STRIP_EDGE, "right": STRIP_EDGE, "far": FAR_EDGE}
_LANE = 0.085
_ABOVE = 0.03


def remaining(state: SceneState, assignment: Assignment) -> float:
    """Metres between the object's centre and the region's near edge, negative inside."""
    along = float(state.things[0, :2] @ np.array(DIRECTIONS[assignment.option]))
    return _EDGES[assignment.option] - along


class Region(SuiteTask):
    """Done when the object lies in the strip; it must not have been grasped and raised."""

    name = "region"
    horizon = 130
    scenery = furnish(strips=REGIONS)
    templates = (
        "push the {thing} to the {region} side",
        "slide the {thing} over to the {region} side",
        "shove the {thing} to the {region} edge",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        region = draw_word(rng, REGIONS)
        target = Kind(
            colour=draw_word(rng, colours(self.split)), shape=draw_word(rng, shapes(self.split))
        )
        company = draw_company(rng, self.split, [target.words], 2)
        elsewhere = REGIONS[(REGIONS.index(region) + 1) % len(REGIONS)]
        return Draft(
            kinds=[target, *company],
            words={"thing": target.name, "region": region},
            others={"thing": company[0].name, "region": elsewhere},
            pairs=[target.words, (target.colour, region)],
            option=region,
        )

    def settle(self, rng: np.random.Generator, layout: Layout, draft: Draft) -> Settled | None:
        """See SuiteTask; the lane that the object is pushed along must be free."""
        thing, *rest = layout.things
        if max(abs(t.y) for t in layout.things) > STRIP_EDGE - 0.04 or thing.x > 0.60:
            return None
        direction = np.array(DIRECTIONS[draft.option])
        across = direction[::-1]
        place = np.array([thing.x, thing.y])
        for other in rest:
            gap = np.array([other.x, other.y]) - place
            if abs(gap @ across) < _LANE and gap @ direction > -0.11:
                return None
        # A puck lies lower than the closed fingers: all shapes are pushed along their axes.
        straight = replace(thing, yaw=0.0) if thing.shape == "brick" else thing
        length = _EDGES[draft.option] - place @ direction
        steps = [place + direction * (length + 0.03), place - direction * 0.07, place]
        steps += [place + direction * away for away in np.arange(0.06, length, 0.06)]
        spots = tuple((float(x), float(y)) for x, y in steps)
        return replace(layout, things=(straight, *rest)), spots

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        low = abs(rise_of(state, assignment, 0)) < _ABOVE
        return low and remaining(state, assignment) < 0.0 and not state.past.grasps[0]
