"""Bounded motion: limits hold for every target, targets are reached, braking ends at rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla.embodiment import Axis, Embodiment
from vla.runtime.motion import MotionLimits, Mover

HZ = 100.0
AXES = (
    Axis(name="j", unit="rad", low=-2, high=2, frame="joint"),
    Axis(name="dx", unit="m", low=-0.05, high=0.05, mode="delta"),
)
BODY = Embodiment(name="b", state=AXES[:1], action=AXES, cameras={}, hz=HZ)
LIMITS = MotionLimits(speed=np.array([1.0, 0.25]), acceleration=np.array([10.0, 5.0]))
TARGET = st.tuples(st.floats(-3, 3, width=32), st.floats(-0.125, 0.125, width=32))


def array(*values):
    return np.array(values, np.float32)


@settings(max_examples=100)
@given(targets=st.lists(TARGET, min_size=1, max_size=25), brake=st.integers(0, 25))
def test_limits_hold_for_any_targets(targets, brake):
    mover = Mover(BODY, LIMITS)
    mover.start(array(0.3, 0))
    place, velocity = 0.3, np.zeros(2)
    for number, target in enumerate(targets):
        command = mover.brake() if number == brake else mover.follow(array(*target))
        now = np.array([command[0] - place, command[1]]) * HZ
        assert (np.abs(now) <= LIMITS.speed + 1e-4).all()
        assert (np.abs(now - velocity) * HZ <= LIMITS.acceleration + 2e-2).all()
        assert -2 <= command[0] <= 2
        place, velocity = float(command[0]), now


def test_a_far_target_is_reached_without_overshoot_and_a_moving_one_without_lag():
    mover = Mover(BODY, LIMITS)
    mover.start(array(0, 0))
    path = [float(mover.follow(array(1, 0))[0]) for _ in range(150)]
    assert max(path) <= 1.0 + 1e-5
    assert path[-1] == pytest.approx(1.0, abs=1e-4)
    mover.start(array(0, 0))
    lag = [k * 0.005 - mover.follow(array(k * 0.005, 0))[0] for k in range(1, 60)]
    assert abs(lag[-1]) < 1e-4


def test_brake_ramps_down_at_the_limit():
    mover = Mover(BODY, LIMITS)
    mover.start(array(0, 0))
    for _ in range(30):
        before = mover.follow(array(1, 0.0025))
    steps = []
    while not mover.at_rest:
        after = mover.brake()
        steps.append(float(after[0] - before[0]) * HZ)
        before = after
    assert len(steps) in (
        10,
        11,
    )  # 1 rad/s at 10 rad/s^2 and 100 Hz: rest with the tenth, or with rounding the next
    np.testing.assert_allclose(np.diff(steps[:10]), -0.1, atol=1e-3)
    assert after[1] == 0


def test_goes_on_from_what_was_sent():
    mover = Mover(BODY, LIMITS)
    mover.start(array(0, 0))
    for _ in range(10):
        mover.follow(array(1, 0))
    place = mover.follow(array(1, 0))[0] - np.float32(0.002)
    mover.sent(array(place, 0))
    assert 0 < mover.follow(array(1, 0))[0] - place <= 0.01


def test_outside_its_bounds_it_moves_inward_only():
    mover = Mover(BODY, LIMITS)
    mover.start(array(2.3, 0))
    path = [float(mover.follow(array(3, 0))[0]) for _ in range(100)]
    assert (np.diff([2.3, *path]) <= 1e-5).all()
    assert path[0] > 2.29
    assert path[-1] == pytest.approx(2.0, abs=1e-4)
