"""Template 13: turn a knob."""

import numpy as np

from envs.draft import Draft, draw_company, draw_word
from envs.layout import Fixture
from envs.splits import TURNS, colours
from envs.suite import SuiteTask, furnish
from envs.task import Assignment, SceneState

TURN = np.deg2rad(40.0)
"""Radians beyond which the knob counts as turned."""
SIGNS = {"left": 1.0, "right": -1.0}
"""Left is counterclockwise as seen from above."""


class Knob(SuiteTask):
    """Done when the knob points 40 degrees to the named side; it begins within 10 degrees of 0."""

    name = "knob"
    horizon = 120
    scenery = furnish("knob", slots=2)
    templates = (
        "turn the knob to the {side}",
        "rotate the knob to the {side}",
        "twist the dial to the {side}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask; the knob's colour is not said, but it is part of the split."""
        side, colour = draw_word(rng, TURNS), draw_word(rng, colours(self.split))
        value = float(np.deg2rad(rng.uniform(-10, 10)))
        return Draft(
            kinds=draw_company(rng, self.split, [("red", "cube")], 2, kin=False),
            fixtures=[Fixture(kind="knob", colour=colour, value=value)],
            words={"side": side},
            others={"side": TURNS[1 - TURNS.index(side)]},
            pairs=[(colour, side)],
            target=None,
            named=(),
            fixture=0,
            option=side,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        return bool(state.values[0] * SIGNS[assignment.option] > TURN)
