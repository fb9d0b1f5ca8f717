"""Experts of the sixteen templates, built from `envs.skills`; pure functions as in envs.experts."""

from collections.abc import Callable

import numpy as np

from envs.fixtures import (
    BUTTON_TOP,
    BUTTON_TRAVEL,
    DRAWER_HANDLE,
    DRAWER_TRAVEL,
    KNOB_GRIP,
    PLATE_TOP,
)
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
    release,
    rise,
    toward,
)
from envs.splits import TIMES
from envs.suite import rise_of
from envs.task import Assignment, SceneState
from envs.tasks.bowl import lies_in
from envs.tasks.button import CLEAR
from envs.tasks.drawer import lies_in_tray
from envs.tasks.knob import SIGNS, TURN
from envs.tasks.region import DIRECTIONS, remaining
from vla.types import Float32

_BESIDE = 0.026
"""Metres off the bowl's centre at which several objects are let go."""


def pick(state: SceneState, assignment: Assignment) -> Float32:
    """Over the object, down, close, and straight up."""
    if is_grasped(state, 0, assignment.thing):
        return rise(state, grip=SHUT)
    return grasp(state, 0, assignment.thing)


def fill_bowl(state: SceneState, assignment: Assignment) -> Float32:
    """Every named object, in order, over the bowl's wall and in."""
    for number, index in enumerate(assignment.named):
        if lies_in(state, assignment, index):
            if state.touched[index]:
                return release(state)
            continue
        place = assignment.goal
        if len(assignment.named) > 1:
            angle = 2 * np.pi * number / len(assignment.named) + np.pi / 2
            place = place + _BESIDE * np.array([np.cos(angle), np.sin(angle)])
        return put(state, index, assignment.layout.things[index], place, bottom=0.038)
    if not assignment.named:
        return toward(state, state.tool, grip=OPEN)
    return rise(state, grip=OPEN)


def plate(state: SceneState, assignment: Assignment) -> Float32:
    """Carry it there and set it down."""
    return _set_down(state, assignment, 0, assignment.goal, floor=PLATE_TOP)


def stack(state: SceneState, assignment: Assignment) -> Float32:
    """Carry it over the other cube and set it down on top."""
    top = float(state.things[1, 2]) + assignment.layout.things[1].half_height
    place = state.things[1, :2]
    return _set_down(state, assignment, 0, place, floor=top, slack=0.005, within=0.008)


def region(state: SceneState, assignment: Assignment) -> Float32:
    """Behind the object with shut fingers, down to the table, and across to the strip."""
    if remaining(state, assignment) < -0.012:
        return toward(state, state.tool, grip=SHUT)
    direction = np.array(DIRECTIONS[assignment.option])
    thing, width = state.things[0, :2], assignment.thing.half_width
    low = min(0.028, assignment.thing.half_height + 0.006)
    gap = thing - state.tool[:2]
    behind, aside = float(gap @ direction), abs(float(gap @ direction[::-1]))
    if 0.0 < behind < width + 0.06 and aside < 0.012 and state.tool[2] < low + 0.015:
        ahead = thing - direction * (behind - SPEED / GAIN)
        return toward(state, np.array([*ahead, low]), grip=SHUT)
    if assignment.thing.shape == "brick" and direction[0]:
        width = 0.030
    start = np.array([*(thing - direction * (width + 0.03)), low])
    return descend(state, start, hover=HOVER, slack=0.008, grip=SHUT)


def relation(state: SceneState, assignment: Assignment) -> Float32:
    """Carry it to the spot beside the other one, wherever that now is."""
    other = assignment.layout.things[1]
    away = np.array(assignment.spots[0]) - (other.x, other.y)
    return _set_down(state, assignment, 0, state.things[1, :2] + away, within=0.025)


def drawer(state: SceneState, assignment: Assignment) -> Float32:
    """Grip the handle and move it until the drawer is open, or shut."""
    return _move_drawer(state, assignment, assignment.option)


def stow(state: SceneState, assignment: Assignment) -> Float32:
    """Open the drawer far enough, then carry the object over its wall and in."""
    if lies_in_tray(state, assignment, 0):
        return release(state)
    if not is_grasped(state, 0, assignment.thing):
        if state.values[0] < DRAWER_TRAVEL - 0.025:
            return _move_drawer(state, assignment, "open")
        handle = _find_handle(state, assignment)
        if np.linalg.norm(state.tool - handle) < 0.05:
            return release(state)
    place = np.array([assignment.stand.x + state.values[0], assignment.stand.y])
    return put(state, 0, assignment.thing, place, bottom=0.036, slack=0.010)


def button(state: SceneState, assignment: Assignment) -> Float32:
    """Press with shut fingers, let the button up, press again when it is to be twice."""
    count = state.past.presses[0]
    if count > TIMES.index(assignment.option):
        if state.tool[2] > CLEAR + 0.03:
            return toward(state, state.tool, grip=SHUT)
        return rise(state, grip=SHUT)
    if state.past.pressed[0]:
        return rise(state, grip=SHUT)
    # The fingers' ends are 9 mm below the fingertip point.
    deep = BUTTON_TOP - BUTTON_TRAVEL + 0.009 - 0.012
    over = np.array([assignment.stand.x, assignment.stand.y, deep])
    if state.opening > 0.15:
        over[2] = BUTTON_TOP + HOVER
    return descend(state, over, hover=HOVER, slack=0.006, grip=SHUT)


def knob(state: SceneState, assignment: Assignment) -> Float32:
    """Grip the bar across, turn the wrist, let go."""
    angle, sign = float(state.values[0]), SIGNS[assignment.option]
    middle = np.array([assignment.stand.x, assignment.stand.y, KNOB_GRIP])
    if angle * sign > TURN + 0.12:
        return release(state)
    gap = np.abs(middle - state.tool)
    if gap.max() < 0.012 and abs(state.rotation[2] - angle) < 0.25:
        turn = angle + 0.30 * sign if 0.05 < state.opening < 0.45 else angle
        return toward(state, middle, turn=turn, grip=SHUT)
    slack = 0.006 if state.opening > 0.85 else -0.03
    return descend(state, middle, hover=HOVER, slack=slack, turn=angle, grip=OPEN)


def peg(state: SceneState, assignment: Assignment) -> Float32:
    """Carry the peg over the hole, wait until it is well aligned, and go down."""
    off = float(np.abs(state.things[0, :2] - assignment.goal).max())
    if off < 0.01 and rise_of(state, assignment, 0) < 0.010:
        return release(state)
    return put(state, 0, assignment.thing, assignment.goal, slack=0.0025)


def swap(state: SceneState, assignment: Assignment) -> Float32:
    """The first to a free spot, the second to the first's pad, the first to the second's."""
    first_goal, second_goal, buffer = (np.array(spot) for spot in assignment.spots)
    if _stands_at(state, assignment, 1, second_goal):
        if state.touched[1]:
            return release(state)
        return _set_down(state, assignment, 0, first_goal)
    if _stands_at(state, assignment, 0, buffer):
        if state.touched[0]:
            return release(state)
        return _set_down(state, assignment, 1, second_goal)
    return _set_down(state, assignment, 0, buffer)


def _set_down(
    state: SceneState,
    assignment: Assignment,
    index: int,
    place: np.ndarray,
    *,
    floor: float = 0.0,
    slack: float = 0.012,
    within: float = 0.02,
) -> Float32:
    if _stands_at(state, assignment, index, place, floor=floor, within=within):
        return release(state)
    thing = assignment.layout.things[index]
    return put(state, index, thing, place, bottom=floor + 0.002, slack=slack)


def _stands_at(
    state: SceneState,
    assignment: Assignment,
    index: int,
    place: np.ndarray,
    *,
    floor: float = 0.0,
    within: float = 0.02,
) -> bool:
    """Whether it is there and low enough to be let go."""
    near = np.linalg.norm(state.things[index, :2] - place) < within
    return bool(near and rise_of(state, assignment, index) - floor < 0.008)


def _find_handle(state: SceneState, assignment: Assignment) -> np.ndarray:
    reach, high = DRAWER_HANDLE
    stand = assignment.stand
    return np.array([stand.x + state.values[0] + reach, stand.y, high + 0.006])


def _move_drawer(state: SceneState, assignment: Assignment, option: str) -> Float32:
    value = float(state.values[0])
    if value > DRAWER_TRAVEL - 0.018 if option == "open" else value < 0.006:
        return release(state)
    handle = _find_handle(state, assignment)
    gap = np.abs(handle - state.tool)
    if gap.max() < 0.014:
        if 0.05 < state.opening < 0.45:
            way = SPEED / GAIN * (1.0 if option == "open" else -1.0)
            return toward(state, handle + np.array([way, 0.0, 0.0]), grip=SHUT)
        return toward(state, handle, grip=SHUT)
    slack = 0.006 if state.opening > 0.85 else -0.03
    return descend(state, handle, hover=HOVER, slack=slack, grip=OPEN)


SUITE_EXPERTS: dict[str, Callable[[SceneState, Assignment], Float32]] = {
    "pick": pick,
    "bowl": fill_bowl,
    "plate": plate,
    "stack": stack,
    "region": region,
    "relation": relation,
    "comparison": fill_bowl,
    "collect": fill_bowl,
    "order": fill_bowl,
    "drawer": drawer,
    "stow": stow,
    "button": button,
    "knob": knob,
    "peg": peg,
    "swap": swap,
    "exclude": fill_bowl,
}
