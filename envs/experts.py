"""Scripted experts: what a demonstrator who sees the whole scene would do, one per task.

Each is a pure function of the scene's state and the assignment. There is no phase counter: what to
do follows from where the tool is, how far the fingers are open and where the object is, so an
expert recovers from any disturbance, and a policy that sees pictures and the arm's state can
imitate it.
"""

from collections.abc import Callable

import numpy as np

from envs.body import MAX_TURN
from envs.layout import STRIP_EDGE
from envs.task import SIDES, Assignment, SceneState, height, reach_point
from vla.errors import choose
from vla.types import Float32, Observation

Expert = Callable[[SceneState, Assignment], Float32]

_OPEN, _SHUT = 1.0, 0.0
_GAIN = 0.55
_SPEED = 0.02
"""Metres per tick and axis: below the embodiment's bound, so that a policy can catch up."""
_HOVER = 0.085
_CARRY = 0.10


def reach(state: SceneState, assignment: Assignment) -> Float32:
    """Straight to the point above the object, fingers open."""
    return _toward(state, reach_point(state, assignment), grip=_OPEN)


def lift(state: SceneState, assignment: Assignment) -> Float32:
    """Over the object, down, close, and straight up."""
    if _grasped(state, assignment):
        return _rise(state, grip=_SHUT)
    return _grasp(state, assignment)


def place(state: SceneState, assignment: Assignment) -> Float32:
    """As `lift`, then over to the pad, down, open, and up."""
    thing = state.things[assignment.target]
    over_pad = np.linalg.norm(thing[:2] - assignment.goal) < 0.02
    if over_pad and height(state, assignment) < 0.008:
        if state.opening < 0.85:
            return _toward(state, state.tool, grip=_OPEN)
        return _rise(state, grip=_OPEN)
    if not _grasped(state, assignment):
        return _grasp(state, assignment)
    # Aim the object, not the tool: it may sit a little off the fingers' centre.
    goal = np.append(assignment.goal + state.tool[:2] - thing[:2], 0.0)
    goal[2] = state.tool[2] - height(state, assignment) + 0.002
    return _descend(state, goal, hover=_CARRY, slack=0.012, grip=_SHUT)


def push(state: SceneState, assignment: Assignment) -> Float32:
    """Behind the object with shut fingers, down to the table, and across to the strip."""
    side = SIDES[str(assignment.side)]
    thing = state.things[assignment.target]
    if thing[1] * side > STRIP_EDGE + 0.012:
        return _toward(state, state.tool, grip=_SHUT)
    width = assignment.thing.half_width
    low = 0.028
    behind = (thing[1] - state.tool[1]) * side
    aligned = abs(thing[0] - state.tool[0]) < 0.012
    if 0.0 < behind < width + 0.05 and aligned and state.tool[2] < low + 0.015:
        ahead = np.array([thing[0], state.tool[1] + side * _SPEED / _GAIN, low])
        return _toward(state, ahead, grip=_SHUT)
    start = np.array([thing[0], thing[1] - side * (width + 0.03), low])
    return _descend(state, start, hover=_HOVER, slack=0.008, grip=_SHUT)


EXPERTS: dict[str, Expert] = {"reach": reach, "push": push, "lift": lift, "place": place}


class ExpertController:
    """A Controller that plays the expert of a world's task; it sees the world's true state.

    Args:
        world: anything with `task`, `assignment` and `scene_state()`, such as MujocoWorld.

    Raises:
        UnknownChoice: when the world's task has no expert.
    """

    def __init__(self, world):
        self._world = world
        self._expert = choose("expert", world.task.name, EXPERTS)

    def reset(self, *, seed: int) -> None:
        """Nothing to forget."""

    def __call__(self, observation: Observation) -> Float32:
        """The expert's action (7,) float32 now; the observation itself is not looked at."""
        return self._expert(self._world.scene_state(), self._world.assignment)


def _grasp(state: SceneState, assignment: Assignment) -> Float32:
    """Come down over the object with open fingers and close them around it."""
    thing = state.things[assignment.target]
    turn = 0.0
    if assignment.thing.shape == "cube":
        quarter = np.pi / 2
        turn = (state.yaws[assignment.target] + quarter / 2) % quarter - quarter / 2
    goal = thing - np.array([0.0, 0.0, 0.002])
    gap = goal - state.tool
    near = np.linalg.norm(gap[:2]) < 0.010 and abs(gap[2]) < 0.010
    near = near and abs(turn - state.rotation[2]) < 0.12
    if near:
        return _toward(state, goal, turn=turn, grip=_SHUT)
    # With fingers that are not open yet, wait above: coming down would knock the object over.
    slack = 0.006 if state.opening > 0.85 else -0.03
    return _descend(state, goal, hover=_HOVER, slack=slack, turn=turn, grip=_OPEN)


def _grasped(state: SceneState, assignment: Assignment) -> bool:
    """Whether the fingers have closed on the object."""
    gap = np.abs(state.things[assignment.target] - state.tool)
    return bool(state.held[assignment.target] and state.opening < 0.95 and gap.max() < 0.02)


def _descend(
    state: SceneState,
    goal: np.ndarray,
    *,
    hover: float,
    slack: float,
    grip: float,
    turn: float = 0.0,
) -> Float32:
    """Toward `goal` down a funnel: high while off to the side, low only within `slack` metres.

    Sideways motion slows while the tool is below the funnel's wall, so that it rises first.
    """
    off = float(np.linalg.norm(goal[:2] - state.tool[:2]))
    off += 0.04 * max(0.0, abs(turn - state.rotation[2]) - 0.1)
    floor = goal[2] + np.clip(2.5 * (off - slack), 0.0, hover)
    freedom = np.clip(1.0 - (floor - state.tool[2] - 0.015) / 0.03, 0.0, 1.0)
    sideways = state.tool[:2] + freedom * (goal[:2] - state.tool[:2])
    return _toward(state, np.array([*sideways, floor]), turn=turn, grip=grip)


def _rise(state: SceneState, *, grip: float) -> Float32:
    """Straight up at full speed."""
    return _toward(state, state.tool + np.array([0.0, 0.0, _SPEED / _GAIN]), grip=grip)


def _toward(state: SceneState, point: np.ndarray, *, grip: float, turn: float = 0.0) -> Float32:
    """A straight step toward `point` (3,) and upright rotation `turn` about z, within bounds."""
    move = _GAIN * (point - state.tool)
    move *= min(1.0, _SPEED / max(float(np.abs(move).max()), 1e-9))
    spin = np.clip(_GAIN * (np.array([0.0, 0.0, turn]) - state.rotation), -MAX_TURN, MAX_TURN)
    return np.array([*move, *spin, grip], dtype=np.float32)
