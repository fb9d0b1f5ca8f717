"""Motor skills of scripted experts: what to do next, from the scene's true state alone."""

import numpy as np

from envs.body import MAX_TURN
from envs.layout import Thing
from envs.task import SceneState
from vla.types import Float32

OPEN, SHUT = 1.0, 0.0
GAIN = 0.55
SPEED = 0.02
"""Metres per tick and axis: below the embodiment's bound, so that a policy can catch up."""
HOVER = 0.085
CARRY = 0.10

_PERIOD = {"cube": np.pi / 2, "brick": np.pi}
"""Radians about z after which a shape looks the same to the fingers; others always do."""
_HOLD_AT = {"peg": 0.018}
"""Metres above its centre at which a shape is held; others are held 2 mm below it."""


def grasp(state: SceneState, index: int, thing: Thing) -> Float32:
    """Come down over object `index` with open fingers and close them around it."""
    turn = 0.0
    if thing.shape in _PERIOD:
        period = _PERIOD[thing.shape]
        turn = (state.yaws[index] + period / 2) % period - period / 2
    goal = state.things[index] + np.array([0.0, 0.0, _HOLD_AT.get(thing.shape, -0.002)])
    gap = goal - state.tool
    near = np.linalg.norm(gap[:2]) < 0.010 and abs(gap[2]) < 0.010
    near = near and abs(turn - state.rotation[2]) < 0.12
    if near:
        return toward(state, goal, turn=turn, grip=SHUT)
    # With fingers that are not open yet, wait above: coming down would knock the object over.
    slack = 0.006 if state.opening > 0.85 else -0.03
    return descend(state, goal, hover=HOVER, slack=slack, turn=turn, grip=OPEN)


def is_grasped(state: SceneState, index: int, thing: Thing) -> bool:
    """Whether the fingers have closed on object `index`."""
    gap = np.abs(state.things[index] + (0.0, 0.0, _HOLD_AT.get(thing.shape, 0.0)) - state.tool)
    return bool(state.held[index] and state.opening < 0.95 and gap.max() < 0.02)


def put(
    state: SceneState,
    index: int,
    thing: Thing,
    place: np.ndarray,
    *,
    bottom: float = 0.002,
    slack: float = 0.012,
) -> Float32:
    """Grasp object `index` and carry it to `place` (2,) until its bottom is at `bottom`, metres."""
    if not is_grasped(state, index, thing):
        return grasp(state, index, thing)
    # Aim the object, not the tool: it may sit a little off the fingers' centre.
    goal = np.append(place + state.tool[:2] - state.things[index, :2], 0.0)
    goal[2] = state.tool[2] - (state.things[index, 2] - thing.half_height) + bottom
    return descend(state, goal, hover=CARRY, slack=slack, grip=SHUT)


def release(state: SceneState) -> Float32:
    """Open the fingers where they are, then leave upwards without turning."""
    turn = float(state.rotation[2])
    if state.opening < 0.85:
        return toward(state, state.tool, turn=turn, grip=OPEN)
    return rise(state, turn=turn, grip=OPEN)


def descend(
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
    return toward(state, np.array([*sideways, floor]), turn=turn, grip=grip)


def rise(state: SceneState, *, grip: float, turn: float = 0.0) -> Float32:
    """Straight up at full speed."""
    return toward(state, state.tool + np.array([0.0, 0.0, SPEED / GAIN]), grip=grip, turn=turn)


def toward(state: SceneState, point: np.ndarray, *, grip: float, turn: float = 0.0) -> Float32:
    """A straight step toward `point` (3,) and upright rotation `turn` about z, within bounds."""
    move = GAIN * (point - state.tool)
    move *= min(1.0, SPEED / max(float(np.abs(move).max()), 1e-9))
    spin = np.clip(GAIN * (np.array([0.0, 0.0, turn]) - state.rotation), -MAX_TURN, MAX_TURN)
    return np.array([*move, *spin, grip], dtype=np.float32)
