"""Template 1: pick up the named object."""

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word
from envs.splits import colours, shapes
from envs.suite import SuiteTask, furnish, rise_of
from envs.task import Assignment, SceneState

_HEIGHT = 0.06


class Pick(SuiteTask):
    """Done when the object is 6 cm above the table between the fingers, and no other was raised."""

    name = "pick"
    horizon = 90
    scenery = furnish(slots=4)
    templates = ("pick up the {thing}", "lift the {thing}", "take the {thing} off the table")

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        colour, shape = draw_word(rng, colours(self.split)), draw_word(rng, shapes(self.split))
        company = draw_company(rng, self.split, [(colour, shape)], 3)
        target = Kind(colour=colour, shape=shape)
        return Draft(
            kinds=[target, *company],
            words={"thing": target.name},
            others={"thing": company[0].name},
            pairs=[target.words],
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        index = assignment.named[0]
        return bool(state.held[index]) and rise_of(state, assignment, index) > _HEIGHT
