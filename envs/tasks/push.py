"""Slide the named object along the table into the left or right side strip."""

import numpy as np

from envs.layout import STRIP_EDGE, Scenery
from envs.task import SIDES, Assignment, SceneState, draw, height, other, word

_TEMPLATES = (
    "push the {thing} to the {side}",
    "slide the {thing} to the {side}",
    "shove the {thing} over to the {side}",
)


class Push:
    """Done when the object's centre lies in the strip, on the table."""

    name = "push"
    horizon = 110
    scenery = Scenery()

    def sample(self, rng: np.random.Generator, *, paraphrase: bool = False) -> Assignment:
        """See Task."""
        layout, target = draw(rng)
        side = str(rng.choice(list(SIDES)))
        text = word(rng, _TEMPLATES, paraphrase)
        text = text.format(thing=layout.things[target].name, side=side)
        return Assignment(layout=layout, target=target, instruction=text, side=side)

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        low = abs(height(state, assignment)) < 0.02
        return low and self.progress(state, assignment)["remaining"] < 0.0

    def progress(self, state: SceneState, assignment: Assignment) -> dict[str, float]:
        """Metres between the object's centre and the strip's near edge, negative inside."""
        y = state.things[assignment.target, 1] * SIDES[str(assignment.side)]
        return {"remaining": float(STRIP_EDGE - y)}

    def swapped_instruction(self, assignment: Assignment) -> str:
        """See Task."""
        side = next(name for name in SIDES if name != assignment.side)
        return _TEMPLATES[0].format(thing=other(assignment).name, side=side)
