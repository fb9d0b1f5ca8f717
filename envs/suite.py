"""What the sixteen templates share: drawing words within a split, and an arrangement for them."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from envs import past
from envs.draft import Draft, lay_out
from envs.layout import SHAPES, UNSEEN_SHAPES, Layout, Scenery
from envs.splits import admits
from envs.task import Assignment, SceneState
from vla.errors import DataError

ALL_SHAPES = (*SHAPES, *UNSEEN_SHAPES)
_TRIES = 20_000
_AT_REST = 0.012

Settled = tuple[Layout, tuple[tuple[float, float], ...]]
"""A layout and the spots (x, y) that must stay free, metres."""


def furnish(*fixtures: str, slots: int = 3, **more: Any) -> Scenery:
    """Scenery of the suite: no pads, no strips, every shape, and these fixtures."""
    options: dict[str, Any] = {"pads": 0, "strips": (), "shapes": ALL_SHAPES, **more}
    return Scenery(slots=slots, fixtures=fixtures, **options)


@dataclass(frozen=True, kw_only=True)
class SuiteTask:
    """A Task whose scenes obey a split; a subclass says what is drawn and when it is done.

    Attributes:
        split: see `envs.splits`.
        templates: the canonical sentence first, then paraphrases.
    """

    split: str = "all"
    name: ClassVar[str] = ""
    horizon: ClassVar[int] = 0
    scenery: ClassVar[Scenery] = Scenery()
    templates: ClassVar[tuple[str, ...]] = ()

    def sample(self, rng: np.random.Generator, *, paraphrase: bool = False) -> Assignment:
        """See Task. Raises DataError when no arrangement is found, which no seed should need."""
        drawn = int(rng.integers(2**16))  # either way, so that both wordings share their scenes
        wording = drawn if paraphrase else 0
        for _ in range(_TRIES):
            draft = self.propose(rng)
            if not admits(self.split, draft.pairs):
                continue
            layout = lay_out(rng, draft)
            found = None if layout is None else self.settle(rng, layout, draft)
            if found is not None:
                break
        else:
            raise DataError(f"Task {self.name!r} found no scene for split {self.split!r}.")
        layout, spots = found
        templates = draft.templates or self.templates
        return Assignment(
            layout=layout,
            target=draft.target,
            instruction=templates[wording % len(templates)].format(**draft.words),
            swapped=templates[0].format(**draft.others),
            named=draft.named,
            fixture=draft.fixture,
            option=draft.option,
            pairs=tuple(draft.pairs),
            spots=spots,
            spare=draft.spare,
        )

    def propose(self, rng: np.random.Generator) -> Draft:
        """Draw words and kinds; what does not suit the split is drawn anew."""
        raise NotImplementedError

    def settle(self, rng: np.random.Generator, layout: Layout, draft: Draft) -> Settled | None:
        """The layout, and the spots that must stay free; None to draw everything anew."""
        return layout, ()

    def success(self, state: SceneState, assignment: Assignment) -> bool:
        """See Task."""
        raise NotImplementedError

    def progress(self, state: SceneState, assignment: Assignment) -> dict[str, float]:
        """Metres from the fingertips to what is named, and objects grasped without being named."""
        if assignment.target is None:
            point = np.array([assignment.stand.x, assignment.stand.y, 0.03])
        else:
            point = state.things[assignment.target]
        return {
            "distance": float(np.linalg.norm(point - state.tool)),
            "wrong_grasps": float(count_wrong_grasps(state, assignment)),
        }

    def swapped_instruction(self, assignment: Assignment) -> str:
        """See Task."""
        return assignment.swapped

    def within(self, split: str) -> "SuiteTask":
        """The same task with assignments of `split`."""
        return replace(self, split=split)


def count_wrong_grasps(state: SceneState, assignment: Assignment) -> int:
    """How often an object was grasped and raised that is not to be moved."""
    return int(past.count_wrong_grasps(state.past, assignment))


def rise_of(state: SceneState, assignment: Assignment, index: int) -> float:
    """How far object `index` is above resting upright on the table, metres."""
    return float(state.things[index, 2] - assignment.layout.things[index].half_height)


def rests(state: SceneState, assignment: Assignment, index: int, *, floor: float = 0.0) -> bool:
    """Whether object `index` stands at the height `floor` and nothing of the gripper touches it."""
    low = abs(rise_of(state, assignment, index) - floor) < _AT_REST
    return low and not state.touched[index]


def drift(state: SceneState, assignment: Assignment, index: int) -> float:
    """Metres along the table between object `index` and where it was at the start."""
    thing = assignment.layout.things[index]
    return float(np.linalg.norm(state.things[index, :2] - (thing.x, thing.y)))
