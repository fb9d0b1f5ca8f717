"""What a task is: an assignment to sample, and a predicate that says when it is done."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from envs.layout import Layout, Thing, sample_layout
from vla.types import Float32

SIDES = {"left": 1.0, "right": -1.0}
"""Side strips by name with the sign of their y: left and right as the arm sees them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One episode's scene and what is asked in it.

    Attributes:
        layout: what lies where at the start.
        target: index of the named object in `layout.things`.
        instruction: the words.
        pad: index of the named pad in `layout.pads`, where the task names one.
        side: name of the named side strip, where the task names one.
    """

    layout: Layout
    target: int
    instruction: str
    pad: int | None = None
    side: str | None = None

    @property
    def thing(self) -> Thing:
        """The named object."""
        return self.layout.things[self.target]

    @property
    def goal(self) -> np.ndarray:
        """Where the named destination lies, (x, y) float64 in metres; NaN when none is named."""
        if self.pad is not None:
            pad = self.layout.pads[self.pad]
            return np.array([pad.x, pad.y])
        if self.side is not None:
            return np.array([0.5, SIDES[self.side] * 0.205])
        return np.full(2, np.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneState:
    """The truth about the scene, for predicates and scripted experts; policies never see it.

    Attributes:
        tool: fingertip point (3,) in metres, base frame.
        rotation: rotation vector (3,) in radians of the tool relative to pointing straight down.
        opening: distance of the fingers, 0 (closed) to 1 (8 cm).
        things: object centres (3, 3) in metres.
        yaws: object rotations about z (3,) in radians.
        touched: per object, does a finger or the hand touch it, bool (3,).
        held: per object, do both fingers touch it, bool (3,).
    """

    tool: np.ndarray
    rotation: np.ndarray
    opening: float
    things: np.ndarray
    yaws: np.ndarray
    touched: np.ndarray
    held: np.ndarray


@runtime_checkable
class Task(Protocol):
    """One kind of assignment on the tabletop."""

    name: str
    horizon: int
    """Ticks after which an episode has failed."""

    def sample(self, rng: np.random.Generator, *, paraphrase: bool = False) -> Assignment:
        """Draw a scene and an instruction; with `paraphrase`, the wording varies too."""
        ...

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """Whether the scene is as asked at this instant."""
        ...

    def progress(self, state: SceneState, assignment: Assignment) -> dict[str, float]:
        """How far it is, as named numbers (metres unless the name says otherwise)."""
        ...

    def swapped_instruction(self, assignment: Assignment) -> str:
        """The canonical sentence naming another object (and destination) of the same scene."""
        ...


def draw(rng: np.random.Generator) -> tuple[Layout, int]:
    """A layout and the index of the object to be named."""
    layout = sample_layout(rng)
    return layout, int(rng.integers(len(layout.things)))


def word(rng: np.random.Generator, templates: tuple[str, ...], paraphrase: bool) -> str:
    """The canonical (first) template, or any of them. Draws from `rng` either way."""
    index = int(rng.integers(len(templates)))
    return templates[index] if paraphrase else templates[0]


def other(assignment: Assignment) -> Thing:
    """The next object of the scene after the named one, cyclically."""
    things = assignment.layout.things
    return things[(assignment.target + 1) % len(things)]


def height(state: SceneState, assignment: Assignment) -> float:
    """How far the named object has risen above resting upright on the table, metres."""
    return float(state.things[assignment.target, 2] - assignment.thing.half_height)


def reach_point(state: SceneState, assignment: Assignment) -> Float32:
    """The point (3,) just above the named object's top that `reach` asks for, metres."""
    point = state.things[assignment.target].copy()
    point[2] += assignment.thing.half_height + 0.015
    return point
