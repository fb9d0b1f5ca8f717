"""Pick the named object up and set it down on the named pad."""

import numpy as np

from envs.layout import PAD_HALF, Scenery
from envs.task import Assignment, SceneState, draw, height, other, word

_TEMPLATES = (
    "put the {thing} on the {pad}",
    "place the {thing} on the {pad}",
    "set the {thing} down on the {pad}",
)


class Place:
    """Done when the object's centre rests over the pad and nothing of the gripper touches it."""

    name = "place"
    horizon = 140
    scenery = Scenery()

    def sample(self, rng: np.random.Generator, *, paraphrase: bool = False) -> Assignment:
        """See Task."""
        layout, target = draw(rng)
        pad = int(rng.integers(len(layout.pads)))
        names = {"thing": layout.things[target].name, "pad": layout.pads[pad].name}
        text = word(rng, _TEMPLATES, paraphrase).format(**names)
        return Assignment(layout=layout, target=target, instruction=text, pad=pad)

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        released = not state.touched[assignment.target] and state.opening > 0.7
        resting = abs(height(state, assignment)) < 0.01
        return released and resting and self._offset(state, assignment) < PAD_HALF

    def progress(self, state: SceneState, assignment: Assignment) -> dict[str, float]:
        """Metres off the pad's centre (the larger of x and y), and above the table."""
        offset = self._offset(state, assignment)
        return {"offset": offset, "height": height(state, assignment)}

    def swapped_instruction(self, assignment: Assignment) -> str:
        """See Task."""
        pads = assignment.layout.pads
        pad = pads[(int(assignment.pad or 0) + 1) % len(pads)]
        return _TEMPLATES[0].format(thing=other(assignment).name, pad=pad.name)

    @staticmethod
    def _offset(state: SceneState, assignment: Assignment) -> float:
        return float(np.abs(state.things[assignment.target, :2] - assignment.goal).max())
