"""Policies for processes that must start quickly: no torch."""

import time
from dataclasses import dataclass

import numpy as np

from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ServingError
from vla.types import ActionChunk

AXES = tuple(Axis(name=f"j{i}", unit="rad", low=-2, high=2, frame="joint") for i in range(2))
BODY = Embodiment(
    name="toy", state=AXES, action=AXES, cameras={"front": Camera(height=8, width=8)}, hz=20
)


@dataclass
class Sweeper:
    """Plans that move every joint at `speed` rad/s from where it stands; H rows.

    One that `keeps` gives pending rows back.
    """

    rows: int = 16
    speed: float = 0.2
    delay: float = 0.01
    fail: str = ""
    keeps: bool = False
    history: int = 1
    embodiment: Embodiment = BODY

    def act(self, observations, *, seeds):
        time.sleep(self.delay)
        if self.fail:
            raise ServingError(self.fail)
        steps = np.arange(1, self.rows + 1)[:, None] * self.speed / self.embodiment.hz
        plans = [(o.state[-1] + steps).astype(np.float32) for o in observations]
        for plan, observation in zip(plans, observations, strict=True):
            if self.keeps and observation.pending is not None:
                plan[: len(observation.pending)] = observation.pending
        return [
            ActionChunk(actions=plan, time=o.time)
            for plan, o in zip(plans, observations, strict=True)
        ]


@dataclass
class SweeperFactory:
    """Picklable; called in the planning process."""

    rows: int = 16
    speed: float = 0.2
    delay: float = 0.01
    fail: str = ""
    broken: bool = False
    keeps: bool = False

    def __call__(self):
        if self.broken:
            raise ServingError("no weights today")
        return Sweeper(self.rows, self.speed, self.delay, self.fail, self.keeps), "ab" * 32
