"""Template 16: negation and refusal."""

import numpy as np

from envs.draft import Draft, Kind, draw_company, draw_word, draw_words
from envs.layout import COLOURS, SHAPES, Fixture
from envs.splits import colours, shapes
from envs.suite import drift, furnish
from envs.task import Assignment, SceneState
from envs.tasks.bowl import IntoBowl

_PATIENCE = 40
"""Ticks, 2 s, for which nothing must be done where nothing is to be done."""


class Exclude(IntoBowl):
    """Template 16: all but one colour, or nothing when what is named is not there.

    Where nothing is to be done, done means that for 2 s nothing was touched or moved.
    """

    name = "exclude"
    horizon = 260
    scenery = furnish("bowl")
    templates = (
        "put away what is not {colour}",
        "everything that is not {colour} goes into the bowl",
        "put all objects except the {colour} ones in the bowl",
    )
    conditional = (
        "if there is a {thing}, put it in the bowl",
        "put the {thing} in the bowl, if you see one",
        "should there be a {thing}, it goes into the bowl",
    )

    def propose(self, rng: np.random.Generator) -> Draft:
        """See SuiteTask."""
        form = ("except", "present", "absent")[int(rng.integers(3))]
        if form == "except":
            return self._propose_exception(rng)
        colour, shape = draw_word(rng, colours(self.split)), draw_word(rng, shapes(self.split))
        target = Kind(colour=colour, shape=shape)
        company = draw_company(rng, self.split, [target.words], 3)
        kinds = company if form == "absent" else [target, *company[:2]]
        spare = tuple((c, s) for c in COLOURS for s in SHAPES if (c, s) != target.words)
        return Draft(
            kinds=kinds,
            fixtures=[Fixture(kind="bowl", colour=draw_word(rng, COLOURS))],
            words={"thing": target.name},
            others={"thing": company[0].name},
            pairs=[target.words],
            named=() if form == "absent" else (0,),
            fixture=0,
            option=form,
            templates=self.conditional,
            spare=spare,
        )

    def _propose_exception(self, rng: np.random.Generator) -> Draft:
        colour, other = draw_words(rng, colours(self.split), 2)
        stays = Kind(colour=colour, shape=draw_word(rng, shapes(self.split)))
        same = [(colour, shape) for shape in SHAPES]
        away = draw_company(rng, self.split, [*same, stays.words], 2, kin=False)
        return Draft(
            kinds=[*away, stays],
            fixtures=[Fixture(kind="bowl", colour=draw_word(rng, COLOURS))],
            words={"colour": colour},
            others={"colour": away[0].colour or other},
            pairs=[stays.words],
            named=(0, 1),
            fixture=0,
            option="except",
            spare=tuple(same),
        )

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        if assignment.named:
            return super().success(state, assignment)
        still = max(drift(state, assignment, i) for i in range(len(state.things))) < 0.01
        return still and not any(state.past.grasps) and state.past.ticks >= _PATIENCE
