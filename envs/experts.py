"""Scripted experts: what a demonstrator who sees the whole scene would do, one per task.

Each is a pure function of the scene's state and the assignment. There is no phase counter: what to
do follows from where the tool is, how far the fingers are open and where the object is, so an
expert recovers from any disturbance, and a policy that sees pictures and the arm's state can
imitate it.
"""

from collections.abc import Callable

import numpy as np

from envs.layout import STRIP_EDGE
from envs.skills import (
    GAIN,
    HOVER,
    OPEN,
    SHUT,
    SPEED,
    descend,
    grasp,
    is_grasped,
    put,
    rise,
    toward,
)
from envs.suite_experts import SUITE_EXPERTS
from envs.task import SIDES, Assignment, SceneState, height, reach_point
from vla.errors import choose
from vla.types import Float32, Observation

Expert = Callable[[SceneState, Assignment], Float32]


def reach(state: SceneState, assignment: Assignment) -> Float32:
    """Straight to the point above the object, fingers open."""
    return toward(state, reach_point(state, assignment), grip=OPEN)


def lift(state: SceneState, assignment: Assignment) -> Float32:
    """Over the object, down, close, and straight up."""
    if is_grasped(state, assignment.target, assignment.thing):
        return rise(state, grip=SHUT)
    return grasp(state, assignment.target, assignment.thing)


def place(state: SceneState, assignment: Assignment) -> Float32:
    """As `lift`, then over to the pad, down, open, and up."""
    thing = state.things[assignment.target]
    over_pad = np.linalg.norm(thing[:2] - assignment.goal) < 0.02
    if over_pad and height(state, assignment) < 0.008:
        if state.opening < 0.85:
            return toward(state, state.tool, grip=OPEN)
        return rise(state, grip=OPEN)
    return put(state, assignment.target, assignment.thing, assignment.goal)


def push(state: SceneState, assignment: Assignment) -> Float32:
    """Behind the object with shut fingers, down to the table, and across to the strip."""
    side = SIDES[str(assignment.side)]
    thing = state.things[assignment.target]
    if thing[1] * side > STRIP_EDGE + 0.012:
        return toward(state, state.tool, grip=SHUT)
    width = assignment.thing.half_width
    low = 0.028
    behind = (thing[1] - state.tool[1]) * side
    aligned = abs(thing[0] - state.tool[0]) < 0.012
    if 0.0 < behind < width + 0.05 and aligned and state.tool[2] < low + 0.015:
        ahead = np.array([thing[0], state.tool[1] + side * SPEED / GAIN, low])
        return toward(state, ahead, grip=SHUT)
    start = np.array([thing[0], thing[1] - side * (width + 0.03), low])
    return descend(state, start, hover=HOVER, slack=0.008, grip=SHUT)


EXPERTS: dict[str, Expert] = {
    "reach": reach, "push": push, "lift": lift, "place": place, **SUITE_EXPERTS,
}  # fmt: skip


class ExpertController:
    """A Controller that plays the expert of a world's task; it sees the world's true state.

    Args:
        world: anything with `task`, `assignment`, `scene_state()` and `express()`: a MujocoWorld.

    Raises:
        UnknownChoice: when the world's task has no expert.
    """

    def __init__(self, world):
        self._world = world
        self._expert = choose("expert", world.task.name, EXPERTS)

    def reset(self, *, seed: int) -> None:
        """Nothing to forget."""

    def __call__(self, observation: Observation) -> Float32:
        """The expert's action (A,) float32 now; the observation itself is not looked at."""
        delta = self._expert(self._world.scene_state(), self._world.assignment)
        return self._world.express(delta)
