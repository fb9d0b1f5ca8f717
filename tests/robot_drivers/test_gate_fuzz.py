"""Random commands by the thousand: none that is illegal passes, whatever the flight has come to."""

import numpy as np
import pytest

from robot_drivers.causes import Cause
from robot_drivers.config import GateConfig
from robot_drivers.limits import TOLERANCE
from tests.robot_drivers.test_gate import joint_body

SPEED, ACCELERATION, HZ, JOINTS = 1.05, 20.0, 50, 6


def wild(random, count, last, velocity):
    """Half of them near what is legal, the rest anything float32 can hold."""
    steps = velocity / HZ + random.normal(0, 0.6 * ACCELERATION / HZ**2, (count, 7))
    commands = (last + steps).astype(np.float32)
    kind = random.integers(0, 10, count)
    commands[kind == 5] = random.uniform(-3, 3, (7,)).astype(np.float32)
    far = (kind == 6)[:, None] & (random.random((count, 7)) < 0.2)
    commands[far] = random.choice([np.nan, np.inf, -np.inf, 3e38, -1e9, 1e-40], far.sum())
    bits = random.integers(0, 2**32, (count, 7), dtype=np.uint32).view(np.float32)
    commands[kind == 7] = bits[kind == 7]
    commands[:, 6] = np.where(kind < 5, np.clip(commands[:, 6], 0, 1), commands[:, 6])
    return commands


def fuzz(commands, seed):
    """Returns how many passed; asserts about every command that was sent."""
    gate = GateConfig(latch_after=10**9, hold_limit=1e9, tracking=10).build(joint_body())
    random = np.random.default_rng(seed)
    state = np.full(7, 0.5)
    last, velocity, passed = state.copy(), np.zeros(7), 0
    low, high = -2 + 0.02 - 1e-5, 2 - 0.02 + 1e-5
    for _ in range(commands // 50):
        # A burst shares its origin; each is judged where the one before has left the arm.
        for wanted in wild(random, 50, last, velocity):
            verdict = gate.judge(wanted, state=state.astype(np.float32), age=0.0)
            sent = verdict.sent.astype(np.float64)
            now = (sent - last) * HZ
            assert low <= sent[:6].min() <= sent[:6].max() <= high
            assert 0 <= sent[6] <= 1
            assert np.abs(now[:6]).max() <= SPEED * (1 + 2 * TOLERANCE)
            change = np.abs(now - velocity)[:6].max() * HZ
            assert verdict.abrupt or change <= ACCELERATION * (1 + 2 * TOLERANCE)
            if verdict.cause is Cause.NONE:
                assert sent.tobytes() == wanted.astype(np.float64).tobytes()
                passed += 1
            last, velocity = sent, now
            state = state + 0.5 * (sent - state)
    return passed


@pytest.mark.timeout(60)
def test_three_thousand_random_commands():
    assert fuzz(3_000, seed=1) > 50


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_thousand_random_commands():
    assert fuzz(30_000, seed=2) > 600
