"""A hand drives: bounded speed and acceleration, no jumps, keys of a real terminal."""

import os
import pty
import termios

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_drivers.config_teleop import KeyboardConfig, TeleopConfig
from robot_drivers.keyboard import Keyboard
from robot_drivers.teleop import TeleopPolicy
from tests.robot_drivers.fake_plant import point_body
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, ContractError, RobotError
from vla.types import Observation

HZ = 30.0
AXES = tuple(Axis(name=f"joint{i}", unit="rad", low=-2, high=2, frame="joint") for i in range(3))
BODY = Embodiment(name="three", state=AXES, action=AXES, cameras={}, hz=HZ)


def see(time, state):
    return Observation(
        images={}, state=np.array([state], np.float32), instruction="", time=float(time)
    )


class Fixed:
    """A hand that stays somewhere."""

    def __init__(self, goal):
        self.place = np.array(goal, float)

    def connect(self):
        pass

    def goal(self, command):
        return self.place

    def close(self):
        pass


def follow(policy, state, ticks, start=0.0):
    rows = []
    for tick in range(ticks):
        (chunk,) = policy.act([see(start + tick / HZ, state)], seeds=[0])
        rows.append(chunk.actions[0])
    return np.array(rows)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(-1.5, 1.5))
@settings(max_examples=30)
def test_a_far_hand_is_reached_without_a_jump(goal, begin):
    config = TeleopConfig(speed=1.0, acceleration=8.0)
    rows = follow(TeleopPolicy(config, BODY, Fixed(goal)), [begin] * 3, 180)
    velocity = np.diff(np.vstack([[begin] * 3, rows]), axis=0) * HZ
    assert np.abs(velocity).max() <= 1.0 + 1e-3
    acceleration = np.diff(np.vstack([np.zeros(3), velocity]), axis=0) * HZ
    assert np.abs(acceleration).max() <= 8.0 * 1.15  # a bound cuts the last step short
    np.testing.assert_allclose(rows[-1], np.clip(goal, -2, 2), atol=1e-2)


def test_after_a_pause_it_starts_from_the_measured_pose():
    policy = TeleopPolicy(TeleopConfig(), BODY, Fixed([1, 1, 1]))
    follow(policy, [0, 0, 0], 30)
    rows = follow(policy, [-1, -1, -1], 1, start=100.0)
    assert np.abs(rows[0] + 1).max() < 0.05


def test_it_takes_one_arm_with_measured_axes():
    policy = TeleopPolicy(TeleopConfig(), BODY, Fixed([0, 0, 0]))
    with pytest.raises(ContractError, match="one arm"):
        policy.act([see(0, [0] * 3)] * 2, seeds=[0, 0])
    blind = Embodiment(name="blind", state=AXES[:2], action=AXES, cameras={}, hz=HZ)
    with pytest.raises(ContractError, match="joint2"):
        TeleopPolicy(TeleopConfig(), blind, Fixed([0, 0, 0]))
    with pytest.raises(ConfigError, match="speed"):
        TeleopConfig(speed=0)


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_keys_move_deltas_while_they_are_held(terminal):
    ours, theirs = terminal
    now = [0.0]
    body = point_body()
    keys = Keyboard(KeyboardConfig(), body, descriptor=theirs, clock=lambda: now[0])
    policy = TeleopPolicy(KeyboardConfig(), body, keys)
    before = termios.tcgetattr(theirs)
    keys.connect()
    os.write(ours, b"wf?")  # dx up, gripper down, and a key of no meaning
    step = 0.08 / body.hz
    np.testing.assert_allclose(keys.goal(np.array([0, 0, 0, 1.0])), [step, 0, 0, 0.9])
    now[0] = 1.0
    np.testing.assert_allclose(keys.goal(np.array([0, 0, 0, 0.5])), [0, 0, 0, 0.5])
    os.write(ours, b"s")
    (chunk,) = policy.act([see(0, [0.4, 0, 0.2, 0.1, 0.7])], seeds=[0])
    np.testing.assert_allclose(chunk.actions[0], [-step, 0, 0, 0.7], atol=1e-6)
    policy.close()
    policy.close()
    assert termios.tcgetattr(theirs)[3] == before[3]


def test_keyboard_refusals(terminal):
    with pytest.raises(ConfigError, match="as many keys"):
        Keyboard(KeyboardConfig(up="we"), point_body())
    with pytest.raises(ConfigError, match="twice"):
        Keyboard(KeyboardConfig(up="wwed"), point_body())
    reading, writing = os.pipe()
    with pytest.raises(RobotError, match="terminal"):
        Keyboard(KeyboardConfig(), point_body(), descriptor=reading).connect()
    os.close(reading)
    os.close(writing)
