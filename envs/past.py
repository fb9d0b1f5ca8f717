"""Keeps count of what only time tells: presses, grasps, ticks."""

from dataclasses import replace

import numpy as np

from envs.fixtures import BUTTON_TRAVEL
from envs.layout import Layout
from envs.task import Assignment, Past, SceneState

_DOWN, _UP = 0.6 * BUTTON_TRAVEL, 0.3 * BUTTON_TRAVEL
_RAISED = 0.015
"""Metres that an object in the fingers must rise to count as grasped."""


def begin(layout: Layout) -> Past:
    """The past at a reset."""
    things, fixtures = len(layout.things), len(layout.fixtures)
    return Past(
        ticks=0,
        presses=(0,) * fixtures,
        pressed=(False,) * fixtures,
        grasps=(0,) * things,
        grasped_at=(-1,) * things,
    )


def count_wrong_grasps(past: Past, assignment: Assignment) -> float:
    """How often an object was grasped and raised that is not to be moved."""
    wanted = {*assignment.named, assignment.target}
    return float(sum(count for index, count in enumerate(past.grasps) if index not in wanted))


class Chronicle:
    """One episode's `Past`, told tick by tick."""

    def __init__(self, layout: Layout):
        self.past = begin(layout)
        self._buttons = np.array([f.kind == "button" for f in layout.fixtures], dtype=bool)
        self._rest = np.array([thing.half_height for thing in layout.things])
        self._carried = np.zeros(len(layout.things), dtype=bool)

    def add(self, state: SceneState) -> None:
        """One control tick has passed and left the scene in `state`."""
        was = np.array(self.past.pressed, dtype=bool)
        depth = np.where(self._buttons, state.values, 0.0)
        now = (depth > _DOWN) | (was & (depth > _UP))
        raised = state.held & (state.things[:, 2] > self._rest + _RAISED)
        grasped = raised & ~self._carried
        self._carried = raised | (self._carried & state.held)
        self.past = replace(
            self.past,
            ticks=self.past.ticks + 1,
            presses=tuple(np.add(self.past.presses, now & ~was).tolist()),
            pressed=tuple(now.tolist()),
            grasps=tuple(np.add(self.past.grasps, grasped).tolist()),
            grasped_at=tuple(np.where(grasped, self.past.ticks, self.past.grasped_at).tolist()),
        )
