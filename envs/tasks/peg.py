"""Template 14: insert the peg in the hole of the named shape."""

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word
from envs.fixtures import HOLE_HALF
from envs.layout import Fixture
from envs.splits import HOLES, colours
from envs.suite import ALL_SHAPES, SuiteTask, furnish, rests
from envs.task import Assignment, SceneState


class Peg(SuiteTask):
    """Done when the peg stands in the hole, let go: 2.5 mm of play all around."""

    name = "peg"
    horizon = 160
    scenery = furnish("round_hole", "square_hole", slots=2, shapes=(*ALL_SHAPES, "peg"))
    templates = (
        "insert the peg in the {hole} hole",
        "put the peg into the {hole} hole",
        "the peg goes in the {hole} hole",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask; the peg's colour is not said, but it is part of the split."""
        hole, colour = draw_word(rng, HOLES), draw_word(rng, colours(self.split))
        blocks = draw_word(rng, colours("all"))
        return Draft(
            kinds=[
                Kind(colour=colour, shape="peg"),
                *draw_company(rng, self.split, [("red", "cube")], 1, kin=False),
            ],
            fixtures=[Fixture(kind=f"{shape}_hole", colour=blocks) for shape in HOLES],
            words={"hole": hole},
            others={"hole": HOLES[1 - HOLES.index(hole)]},
            pairs=[(colour, hole)],
            fixture=HOLES.index(hole),
            option=hole,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        off = np.abs(state.things[0, :2] - assignment.goal).max()
        return bool(off < HOLE_HALF) and rests(state, assignment, 0)
