"""A body, plans and policies of numbers, for what happens between plans."""

import numpy as np

from vla.embodiment import Axis, Embodiment
from vla.types import ActionChunk, Observation

HZ = 20.0
BODY = Embodiment(
    name="toy",
    state=(Axis(name="x", unit="rad", low=-100, high=100, frame="joint"),),
    action=(
        Axis(name="x", unit="rad", low=-100, high=100, frame="joint"),
        Axis(name="dy", unit="m", low=-1, high=1, mode="delta"),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    cameras={},
    hz=HZ,
)
STEPS = Embodiment(
    name="steps",
    state=BODY.state,
    action=(
        Axis(name="dx", unit="m", low=-1, high=1, mode="delta"),
        Axis(name="dy", unit="m", low=-1, high=1, mode="delta"),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    cameras={},
    hz=HZ,
)


def plan(rows, tick=0):
    return ActionChunk(actions=np.array(rows, np.float32), time=tick / HZ)


def observe(tick, x=0.0):
    return Observation(
        images={}, state=np.array([[x]], np.float32), instruction="go", time=tick / HZ
    )


class Drawing:
    """Plans of random rows that depend on seed and time alone; remembers what it was told."""

    def __init__(self, *, horizon=8, embodiment=BODY, history=1):
        self.embodiment, self.history, self.horizon = embodiment, history, horizon
        self.asked, self.seeds = [], []

    def act(self, observations, *, seeds):
        self.asked += observations
        self.seeds += seeds
        chunks = []
        for observation, seed in zip(observations, seeds, strict=True):
            random = np.random.default_rng([seed, round(observation.time * HZ)])
            rows = random.uniform(0, 1, (self.horizon, 3)).astype(np.float32)
            if observation.pending is not None:
                rows[: len(observation.pending)] = observation.pending
            chunks.append(ActionChunk(actions=rows, time=observation.time))
        return chunks
