"""Grasp the named object and hold it up."""

import numpy as np

from envs.layout import Scenery
from envs.task import Assignment, SceneState, draw, height, other, word

_TEMPLATES = ("lift the {thing}", "pick up the {thing}", "raise the {thing}")
_HEIGHT = 0.06


class Lift:
    """Done when the object is 6 cm above the table and between the fingers."""

    name = "lift"
    horizon = 90
    scenery = Scenery()

    def sample(self, rng: np.random.Generator, *, paraphrase: bool = False) -> Assignment:
        """See Task."""
        layout, target = draw(rng)
        text = word(rng, _TEMPLATES, paraphrase).format(thing=layout.things[target].name)
        return Assignment(layout=layout, target=target, instruction=text)

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        return bool(state.held[assignment.target]) and height(state, assignment) > _HEIGHT

    def progress(self, state: SceneState, assignment: Assignment) -> dict[str, float]:
        """Metres risen, and metres from the fingertip point to the object's centre."""
        gap = np.linalg.norm(state.things[assignment.target] - state.tool)
        return {"height": height(state, assignment), "distance": float(gap)}

    def swapped_instruction(self, assignment: Assignment) -> str:
        """See Task."""
        return _TEMPLATES[0].format(thing=other(assignment).name)
