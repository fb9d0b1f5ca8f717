"""Plans from another process: fresh ones are followed, absent and bad ones lead to a hold."""

import os
import signal
import time
from itertools import pairwise

import numpy as np
import pytest

from tests.vla.runtime.toy_policies import BODY, SweeperFactory
from vla.contract import Controller
from vla.errors import ConfigError, RobotError
from vla.runtime.config import AsyncControlConfig, LatencyConfig
from vla.runtime.execution_config import RtcConfig
from vla.runtime.motion import MotionLimits
from vla.types import Observation

HZ = 100.0
LIMITS = MotionLimits(speed=np.full(2, 1.0), acceleration=np.full(2, 10.0))


def observe(state, when=None):
    return Observation(
        images={"front": np.zeros((1, 8, 8, 3), np.uint8)},
        state=np.array([state], np.float32),
        instruction="go",
        time=time.monotonic() if when is None else when,
    )


def drive(controller, seconds, state, until=lambda: False):
    """The last command is the next state; returns commands and holding flags."""
    commands, holding = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        state = controller(observe(state))
        commands.append(state)
        holding.append(controller.holding)
        time.sleep(1 / HZ)
    return np.array(commands), np.array(holding)


@pytest.fixture(scope="module")
def controller():
    config = AsyncControlConfig(hz=HZ, hang=5.0)
    controller = config.open(SweeperFactory(), BODY, limits=LIMITS)
    yield controller
    controller.close()


def test_follows_plans_holds_when_the_planner_is_killed_and_resumes(controller):
    assert isinstance(controller, Controller)
    assert controller.weights == "ab" * 32
    assert controller.embodiment.hz == HZ
    controller.reset(seed=1)
    commands, holding = drive(controller, 1.0, [0.0, 0.0])
    assert holding[0]  # no plan yet: at rest where it is
    assert commands[0, 0] == 0
    assert not holding[-1]
    assert 0.05 < commands[-1, 0] < 1.0
    assert (np.abs(np.diff(commands[:, 0])) <= 1.0 / HZ + 1e-5).all()
    assert controller.chunk_index > 5
    first = controller.planner_pid
    os.kill(first, signal.SIGKILL)
    commands, holding = drive(controller, 3.0, commands[-1], until=lambda: controller.holding)
    assert controller.holding
    assert len(commands) <= 60  # 0.25 s at 100 Hz, on a busy machine
    rest, _ = drive(controller, 0.3, commands[-1])
    assert (np.abs(np.diff(rest, axis=0)) <= 0.012).all()
    drive(controller, 20.0, rest[-1], until=lambda: not controller.holding)
    assert not controller.holding  # a new planner was started, and plans from the present pose
    assert controller.planner_pid != first


def test_a_stopped_planner_is_a_hold_and_goes_on_by_itself(controller):
    controller.reset(seed=2)
    commands, _ = drive(controller, 5.0, [0.0, 0.0], until=lambda: controller.chunk_index > 2)
    os.kill(controller.planner_pid, signal.SIGSTOP)
    try:
        commands, _ = drive(controller, 3.0, commands[-1], until=lambda: controller.holding)
        assert controller.holding
    finally:
        os.kill(controller.planner_pid, signal.SIGCONT)
    commands, _ = drive(controller, 5.0, commands[-1], until=lambda: not controller.holding)
    assert not controller.holding


def test_plans_of_the_last_episode_are_not_used(controller):
    controller.reset(seed=3)
    drive(controller, 5.0, [0.0, 0.0], until=lambda: controller.chunk_index >= 0)
    controller.reset(seed=4)
    controller(observe([0.0, 0.0]))
    assert controller.chunk is None


def test_failures_are_told():
    config = AsyncControlConfig(start_timeout=60)
    with pytest.raises(RobotError, match="no weights today"):
        config.open(SweeperFactory(broken=True), BODY)
    with pytest.raises(ConfigError, match=r"control\.execute"):
        AsyncControlConfig(execute=5).open(SweeperFactory(), BODY)
    with pytest.raises(ConfigError, match=r"control\.latency"):
        AsyncControlConfig(latency=LatencyConfig(seconds=0.1)).open(SweeperFactory(), BODY)
    with pytest.raises(ConfigError, match="stale"):
        AsyncControlConfig(stale=0)
    with pytest.raises(ConfigError, match="rate_limits"):
        AsyncControlConfig(rate_limits={"j0": 1.0})


def test_the_planner_is_told_of_the_plan_that_is_followed():
    """Pending rows cross the process boundary: every plan goes on from the one before it."""
    config = AsyncControlConfig(
        hz=HZ, execution=RtcConfig(), delay_window=4, delay_quantile=1.0, start_timeout=60
    )
    controller = config.open(SweeperFactory(rows=40, delay=0.06, keeps=True), BODY)
    chunks = []
    try:
        controller.reset(seed=1)
        state, end = np.zeros(2, np.float32), time.monotonic() + 10
        while len(chunks) < 6 and time.monotonic() < end:
            state = controller(observe(state))
            if controller.chunk is not None and (
                not chunks or controller.chunk.time > chunks[-1].time
            ):
                chunks.append(controller.chunk)
            time.sleep(1 / HZ)
    finally:
        controller.close()
    assert len(chunks) == 6
    for old, new in pairwise(chunks[1:]):
        first = round((new.time - old.time) * BODY.hz)
        kept = (new.actions[:2] == old.actions[first : first + 2]).all()
        assert kept, (first, new.actions[:3], old.actions[: first + 3])
