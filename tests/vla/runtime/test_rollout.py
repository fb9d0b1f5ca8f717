"""The one rollout: order of calls, ends, limits, and the contract check before any motion."""

import numpy as np
import pytest

from vla.embodiment import Axis, Embodiment
from vla.errors import EmbodimentMismatch
from vla.runtime.rollout import rollout
from vla.types import Observation, Outcome


def body(high=1.0):
    axes = (Axis(name="x", unit="m", low=-high, high=high),)
    return Embodiment(name="toy", state=axes, action=axes, cameras={}, hz=10)


class Line:
    """Adds the action to its position; ends at 3."""

    def __init__(self):
        self.embodiment, self.calls, self.x, self.ticks = body(), [], 0.0, 0

    def observation(self):
        state = np.array([[self.x]], np.float32)
        return Observation(images={}, state=state, instruction="", time=self.ticks / 10)

    def reset(self, *, seed):
        self.calls.append(("reset", seed))
        self.x, self.ticks = 0.0, 0
        return self.observation()

    def step(self, action):
        self.calls.append(("step", float(action[0])))
        self.x, self.ticks = self.x + float(action[0]), self.ticks + 1
        return self.observation()

    def outcome(self):
        return Outcome(success=self.x >= 3, ended=self.x >= 3)

    def close(self):
        self.calls.append(("close", None))


class One:
    def reset(self, *, seed):
        self.seed = seed

    def __call__(self, observation):
        return np.ones(1, np.float32)


def test_runs_until_the_world_ends():
    world, controller = Line(), One()
    ticks = list(rollout(world, controller, seed=7))
    assert [t.index for t in ticks] == [0, 1, 2]
    assert [t.observation.state[0, 0] for t in ticks] == [0, 1, 2]
    assert [t.next_observation.state[0, 0] for t in ticks] == [1, 2, 3]
    assert [t.outcome.success for t in ticks] == [False, False, True]
    assert world.calls == [("reset", 7)] + [("step", 1.0)] * 3
    assert controller.seed == 7


def test_max_steps_and_laziness():
    world = Line()
    ticks = rollout(world, One(), seed=0, max_steps=2)
    assert world.calls == []
    assert len(list(ticks)) == 2
    assert list(rollout(Line(), One(), seed=0, max_steps=0)) == []


def test_a_foreign_controller_never_moves_the_world():
    world, controller = Line(), One()
    controller.embodiment = body(high=2.0)
    with pytest.raises(EmbodimentMismatch, match=r"x.*high"):
        next(rollout(world, controller, seed=0))
    assert world.calls == []
