"""Bring the fingertips to just above the named object."""

import numpy as np

from envs.layout import Scenery
from envs.task import Assignment, SceneState, draw, other, reach_point, word

_TEMPLATES = ("reach the {thing}", "move to the {thing}", "go to the {thing}")
_RADIUS = 0.025


class Reach:
    """Done when the fingertip point is within 2.5 cm of the point 1.5 cm above the object."""

    name = "reach"
    horizon = 50
    scenery = Scenery()

    def sample(self, rng: np.random.Generator, *, paraphrase: bool = False) -> Assignment:
        """See Task."""
        layout, target = draw(rng)
        text = word(rng, _TEMPLATES, paraphrase).format(thing=layout.things[target].name)
        return Assignment(layout=layout, target=target, instruction=text)

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        return self.progress(state, assignment)["distance"] < _RADIUS

    def progress(self, state: SceneState, assignment: Assignment) -> dict[str, float]:
        """Metres from the fingertip point to where it is to be."""
        gap = reach_point(state, assignment) - state.tool
        return {"distance": float(np.linalg.norm(gap))}

    def swapped_instruction(self, assignment: Assignment) -> str:
        """See Task."""
        return _TEMPLATES[0].format(thing=other(assignment).name)
