"""A waited-for policy on an arm: late rows are followed, holds are noticed."""

import numpy as np
import pytest

from tests.vla.runtime.toy_policies import BODY
from vla.runtime.config import ControlConfig
from vla.runtime.motion import MotionLimits
from vla.runtime.steady_controller import SteadyController
from vla.types import ActionChunk, Observation

LIMITS = MotionLimits(speed=np.full(2, 1.0), acceleration=np.full(2, 10.0), margin=0.1)


class Ramp:
    """Plans 0.8 rad/s; NaN when told to."""

    history, embodiment, broken = 1, BODY, False

    def act(self, observations, *, seeds):
        rows = 0.04 * np.arange(40)[:, None] * np.ones(2)
        rows = rows * np.nan if self.broken else rows
        return [ActionChunk(actions=rows.astype(np.float32), time=o.time) for o in observations]


def observe(state, tick):
    images = {"front": np.zeros((1, 8, 8, 3), np.uint8)}
    return Observation(
        images=images, state=np.float32([state]), instruction="go", time=100 + tick / 20
    )


@pytest.fixture
def controller():
    steady = SteadyController(ControlConfig(execute=40).build(Ramp()), LIMITS)
    steady.reset(seed=0)
    return steady


def test_missed_slots_do_not_make_a_jump(controller):
    sent = [controller(observe([0, 0], tick)) for tick in (0, 1, 2, 3, 20, 21, 22, 23, 24, 25)]
    sent = np.array(sent, np.float64)
    speed = np.diff(sent, axis=0) * 20
    assert speed.max() <= 1.0 + 1e-5
    assert np.abs(np.diff(speed, axis=0)).max() * 20 <= 10.0 + 1e-3
    assert sent[-1, 0] > 0.3
    assert controller.row == 25


def test_bounds_keep_the_margin_and_holds_are_heard(controller):
    controller(observe([1.85, 0], 0))
    controller.sent(np.float32([1.85, 0.0]))
    for tick in range(1, 20):
        command = controller(observe([1.85, 0], tick))
    assert command[0] <= 1.9
    for tick in range(20, 23):  # the gate holds here
        held = command
        wanted = controller(observe([1.85, 0], tick))
        controller.sent(held)
        assert np.abs(wanted - held).max() <= 0.05 + 1e-5
    assert controller.plan_age(1e9) == 0
    assert not controller.holding


def test_what_is_not_finite_reaches_the_gate_as_it_is():
    policy = Ramp()
    policy.broken = True
    steady = SteadyController(ControlConfig().build(policy), LIMITS)
    steady.reset(seed=0)
    assert np.isnan(steady(observe([0, 0], 0))).all()
    steady.sent(np.float32([0, 0]))
    assert np.isnan(steady(observe([0, 0], 1))).all()
