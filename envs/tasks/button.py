"""Template 12: press one of three buttons, once or twice."""

import numpy as np

from envs.draft import Draft, draw_company, draw_word, draw_words
from envs.fixtures import BUTTON_TOP
from envs.layout import Fixture
from envs.splits import TIMES, colours
from envs.suite import SuiteTask, furnish
from envs.task import Assignment, SceneState

CLEAR = BUTTON_TOP + 0.05
"""Height in metres that the fingertips must rise to: only then is pressing over."""


class Button(SuiteTask):
    """Done when the button was pressed as often as asked, no other was, and the tool has left.

    Beside each button a lamp lights up per press, so that a picture tells the count.
    """

    name = "button"
    horizon = 130
    scenery = furnish("button", "button", "button", slots=1)
    templates = (
        "press the {button} {times}",
        "push the {button} {times}",
        "{times}, press the {button}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        paints, times = draw_words(rng, colours(self.split), 3), draw_word(rng, TIMES)
        buttons = [Fixture(kind="button", colour=paint) for paint in paints]
        return Draft(
            kinds=draw_company(rng, self.split, [("red", "cube")], 1, kin=False),
            fixtures=buttons,
            words={"button": buttons[0].name, "times": times},
            others={"button": buttons[1].name, "times": TIMES[1 - TIMES.index(times)]},
            pairs=[(paints[0], times)],
            target=None,
            named=(),
            fixture=0,
            option=times,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        asked = [0] * len(state.past.presses)
        asked[0] = 1 + TIMES.index(assignment.option)
        away = not any(state.past.pressed) and state.tool[2] > CLEAR
        return bool(away) and list(state.past.presses) == asked
