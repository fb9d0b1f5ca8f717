"""What a task is: an assignment to sample, and a predicate that says when it is done."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from envs.layout import Fixture, Layout, Scenery, Thing, sample_layout
from vla.errors import ContractError
from vla.types import Float32

SIDES = {"left": 1.0, "right": -1.0}
"""Side strips by name with the sign of their y: left and right as the arm sees them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One episode's scene and what is asked in it.

    Attributes:
        layout: what lies where at the start.
        target: index of the (first) named object in `layout.things`; None when a fixture is named.
        instruction: the words.
        pad: index of the named pad in `layout.pads`, where the task names one.
        side: name of the named side strip, where the task names one.
        named: indices of all objects that are to be moved, in order.
        fixture: index of the named fixture in `layout.fixtures`, where the task names one.
        option: what else is asked: a relation, "twice", "open", ...
        pairs: pairs of words that it uses; they decide its split (see envs.splits).
        swapped: the canonical sentence that names something else of the same scene.
        spots: (x, y) in metres that must stay free; the first is where the target is to go.
        spare: (colour, shape) that further objects may have; None: any that are not there.
    """

    layout: Layout
    target: int | None
    instruction: str
    pad: int | None = None
    side: str | None = None
    named: tuple[int, ...] = ()
    fixture: int | None = None
    option: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    swapped: str = ""
    spots: tuple[tuple[float, float], ...] = ()
    spare: tuple[tuple[str, str], ...] | None = None

    @property
    def thing(self) -> Thing:
        """The named object. Raises ContractError when the task names none."""
        if self.target is None:
            raise ContractError(f"{self.instruction!r} names no object.")
        return self.layout.things[self.target]

    @property
    def stand(self) -> Fixture:
        """The named fixture. Raises ContractError when the task names none."""
        if self.fixture is None:
            raise ContractError(f"{self.instruction!r} names no fixture.")
        return self.layout.fixtures[self.fixture]

    @property
    def goal(self) -> np.ndarray:
        """Where the named destination lies, (x, y) float64 in metres; NaN when none is named."""
        if self.spots:
            return np.array(self.spots[0])
        if self.fixture is not None:
            return np.array([self.stand.x, self.stand.y])
        if self.pad is not None:
            pad = self.layout.pads[self.pad]
            return np.array([pad.x, pad.y])
        if self.side is not None:
            return np.array([0.5, SIDES[self.side] * 0.205])
        return np.full(2, np.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What only time tells about an episode.

    Attributes:
        ticks: control ticks since the reset.
        presses: per fixture, how often it was pressed down (m,).
        pressed: per fixture, is it down and not yet up again (m,).
        grasps: per object, how often it was grasped and raised (n,).
        grasped_at: per object, the tick of the last such grasp, -1 for none (n,).
    """

    ticks: int = 0
    presses: tuple[int, ...] = ()
    pressed: tuple[bool, ...] = ()
    grasps: tuple[int, ...] = ()
    grasped_at: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneState:
    """The truth about the scene, for predicates and scripted experts; policies never see it.

    Attributes:
        tool: fingertip point (3,) in metres, base frame.
        rotation: rotation vector (3,) in radians of the tool relative to pointing straight down.
        opening: distance of the fingers, 0 (closed) to 1 (8 cm).
        things: object centres (n, 3) in metres.
        yaws: object rotations about z (n,) in radians.
        touched: per object, does a finger or the hand touch it, bool (n,).
        held: per object, do both fingers touch it, bool (n,).
        values: per fixture its joint's position (m,), metres or radians.
        past: what happened before in this episode.
    """

    tool: np.ndarray
    rotation: np.ndarray
    opening: float
    things: np.ndarray
    yaws: np.ndarray
    touched: np.ndarray
    held: np.ndarray
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    past: Past = field(default_factory=Past)


@runtime_checkable
class Task(Protocol):
    """One kind of assignment on the tabletop."""

    name: str
    horizon: int
    """Ticks after which an episode has failed."""
    scenery: Scenery

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
    return things[(int(assignment.target or 0) + 1) % len(things)]


def height(state: SceneState, assignment: Assignment) -> float:
    """How far the named object has risen above resting upright on the table, metres."""
    return float(state.things[assignment.target, 2] - assignment.thing.half_height)


def reach_point(state: SceneState, assignment: Assignment) -> Float32:
    """The point (3,) just above the named object's top that `reach` asks for, metres."""
    point = state.things[assignment.target].copy()
    point[2] += assignment.thing.half_height + 0.015
    return point
