"""Templates 3 and 4: set an object down on a plate, or a cube on another cube."""

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word, draw_words
from envs.fixtures import PLATE_RADIUS, PLATE_TOP
from envs.layout import Fixture
from envs.splits import colours, shapes
from envs.suite import SuiteTask, furnish, rests, rise_of
from envs.task import Assignment, SceneState


class Plate(SuiteTask):
    """Template 3. Done when the object stands on the plate of the named colour, let go."""

    name = "plate"
    horizon = 150
    scenery = furnish("plate", "plate")
    templates = (
        "put the {thing} on the {plate}",
        "set the {thing} down on the {plate}",
        "place the {thing} onto the {plate}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        target = Kind(
            colour=draw_word(rng, colours(self.split)), shape=draw_word(rng, shapes(self.split))
        )
        first, second = draw_words(rng, colours(self.split), 2)
        company = draw_company(rng, self.split, [target.words], 2)
        return Draft(
            kinds=[target, *company],
            fixtures=[Fixture(kind="plate", colour=first), Fixture(kind="plate", colour=second)],
            words={"thing": target.name, "plate": f"{first} plate"},
            others={"thing": company[0].name, "plate": f"{second} plate"},
            pairs=[target.words, (target.colour, first)],
            fixture=0,
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        index = assignment.named[0]
        off = np.linalg.norm(state.things[index, :2] - assignment.goal)
        return bool(off < 0.9 * PLATE_RADIUS) and rests(state, assignment, index, floor=PLATE_TOP)


class Stack(SuiteTask):
    """Template 4. Done when one cube stands on the other, let go."""

    name = "stack"
    horizon = 150
    scenery = furnish(slots=4)
    templates = (
        "stack the {thing} on the {under}",
        "put the {thing} on top of the {under}",
        "the {thing} goes on the {under}",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        first, second, third = draw_words(rng, colours(self.split), 3)
        cubes = [Kind(colour=colour, shape="cube") for colour in (first, second)]
        taken = [cube.words for cube in cubes]
        last = draw_company(rng, self.split, [*taken, (third, "cube")], 2)
        return Draft(
            kinds=[*cubes, *last],
            words={"thing": cubes[0].name, "under": cubes[1].name},
            others={"thing": cubes[1].name, "under": cubes[0].name},
            pairs=[*taken, (first, second)],
            named=(0,),
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        off = np.linalg.norm(state.things[0, :2] - state.things[1, :2])
        top = float(state.things[1, 2]) + assignment.layout.things[1].half_height
        low = abs(rise_of(state, assignment, 1)) < 0.01
        return bool(off < 0.02) and low and rests(state, assignment, 0, floor=top)
