"""Templates 10 and 11: a drawer to open or close, and one to put something into."""

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word
from envs.fixtures import DRAWER_TRAVEL, TRAY_HALF
from envs.layout import Fixture
from envs.splits import MOVES, colours, shapes
from envs.suite import SuiteTask, furnish, rise_of
from envs.task import Assignment, SceneState

OPEN_FROM, SHUT_BELOW = 0.08, 0.015
"""Metres that an open drawer is out at least, and a closed one at most."""
_DEEP = 0.045
"""Metres that the bottom of what lies in the tray may be above the table."""


class Drawer(SuiteTask):
    """Template 10. Done when the drawer is open, or closed, as asked."""

    name = "drawer"
    horizon = 120
    scenery = furnish("drawer", slots=2)
    templates = ("{move} the drawer", "please {move} the drawer", "the drawer: {move} it")

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask; the drawer's colour is not said, but it is part of the split."""
        move, colour = draw_word(rng, MOVES), draw_word(rng, colours(self.split))
        value = float(rng.uniform(0.0, 0.008))
        if move == "close":
            value = DRAWER_TRAVEL - float(rng.uniform(0.0, 0.025))
        return Draft(
            kinds=draw_company(rng, self.split, [("red", "cube")], 2, kin=False),
            fixtures=[Fixture(kind="drawer", colour=colour, value=value)],
            words={"move": move},
            others={"move": MOVES[1 - MOVES.index(move)]},
            pairs=[(colour, move)],
            target=None,
            named=(),
            fixture=0,
            option=move,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        value = float(state.values[0])
        return value > OPEN_FROM if assignment.option == "open" else value < SHUT_BELOW


def lies_in_tray(state: SceneState, assignment: Assignment, index: int) -> bool:
    """Whether object `index` is inside the drawer's tray, held or not."""
    stand = assignment.stand
    x, y = state.things[index, :2] - (stand.x + state.values[0], stand.y)
    low = rise_of(state, assignment, index) < _DEEP
    return bool(abs(x) < TRAY_HALF[0] and abs(y) < TRAY_HALF[1] and low)


class Stow(SuiteTask):
    """Template 11. Done when the object lies in the drawer, let go; the drawer begins closed."""

    name = "stow"
    horizon = 260
    scenery = furnish("drawer")
    templates = (
        "put the {thing} in the drawer",
        "place the {thing} inside the drawer",
        "stow the {thing} in the drawer",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        target = Kind(
            colour=draw_word(rng, colours(self.split)), shape=draw_word(rng, shapes(self.split))
        )
        company = draw_company(rng, self.split, [target.words], 2)
        colour = draw_word(rng, colours("all"))
        return Draft(
            kinds=[target, *company],
            fixtures=[Fixture(kind="drawer", colour=colour, value=float(rng.uniform(0.0, 0.008)))],
            words={"thing": target.name},
            others={"thing": company[0].name},
            pairs=[target.words],
            fixture=0,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        return lies_in_tray(state, assignment, 0) and not state.touched[0]
