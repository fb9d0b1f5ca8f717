"""What every robot must do, whatever it is; a new robot joins the list."""

import time

import numpy as np
import pytest

from robot_drivers.config import SimArmConfig
from robot_drivers.robot_world import CAUSES, RobotWorld
from tests.robot_drivers.fake_plant import PointFactory, commands
from vla.contract import Robot, World
from vla.embodiment import Embodiment
from vla.errors import GateRefusal
from vla.runtime.config import ControlConfig
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog, read_flight
from vla.types import ActionChunk


def sim_arm(folder):
    config = SimArmConfig(start_timeout=30)
    return config, config.build(PointFactory(str(folder / "commands.jsonl")))


ROBOTS = {"sim_arm": sim_arm}


@pytest.fixture(params=sorted(ROBOTS))
def robot(request, tmp_path):
    config, robot = ROBOTS[request.param](tmp_path)
    yield config, robot
    robot.close()


class Wild:
    """A policy that plans small moves, and now and then something it must not."""

    history = 1

    def __init__(self, embodiment: Embodiment, faults):
        self.embodiment, self.faults, self.plans = embodiment, faults, 0

    def act(self, observations, *, seeds):
        rows = np.zeros((4, len(self.embodiment.action)), np.float32)
        rows[:, 0], rows[:, -1] = 0.002, 1.0
        if self.plans in self.faults:
            rows[1] = self.faults[self.plans]
        self.plans += 1
        return [ActionChunk(actions=rows, time=o.time) for o in observations]


def fly(robot, config, log, faults, **limits):
    world = RobotWorld(robot, robot, gate=config.gate.build(robot.embodiment), scene=robot, log=log)
    assert isinstance(world, World)
    # A rate-limited or clipped plan would hide the jump from the gate: drive it unshaped.
    controller = ControlConfig(execute=4).build(Wild(robot.embodiment, faults))
    controller._shaper.shape = lambda action, observation: action
    return run_live(world, controller, seed=0, log=log, **limits)


def test_reads_before_it_moves_and_names_its_axes(robot):
    _, arm = robot
    assert isinstance(arm, Robot)
    arm.arrange(seed=0)
    arm.connect()
    before, when = arm.read()
    time.sleep(0.15)
    after, later = arm.read()
    assert before.dtype == np.float32
    assert before.shape == (len(arm.embodiment.state),)
    assert later > when
    np.testing.assert_array_equal(before, after)
    arm.halt()
    arm.halt()


def test_twenty_hertz_and_no_bad_command_arrives(robot, tmp_path):
    config, arm = robot
    log = FlightLog(tmp_path / "flight.log", embodiment=arm.embodiment, causes=CAUSES)
    faults = {1: np.nan, 3: 0.5, 5: -np.inf}
    figures = fly(arm, config, log, faults, steps=40)
    assert figures["rate_hz"] == pytest.approx(20, abs=2)
    assert figures["refusals"] == {"NOT_FINITE": 2, "BOUNDS": 1}
    assert figures["observation_age_ms"]["p50"] < 120
    ticks, received = read_flight(log.path).ticks, commands(tmp_path / "commands.jsonl")
    low = [axis.low for axis in arm.embodiment.action]
    high = [axis.high for axis in arm.embodiment.action]
    assert np.isfinite(received).all()
    assert ((received >= np.float32(low)) & (received <= np.float32(high))).all()
    np.testing.assert_array_equal(received[: len(ticks)], ticks["sent"])
    refused = ticks["cause"] > 0
    assert (ticks["sent"][refused, 0] == 0).all()
    np.testing.assert_array_equal(ticks["sent"][~refused], ticks["wanted"][~refused])


def test_bad_plans_in_a_row_stop_it(robot, tmp_path):
    config, arm = robot
    log = FlightLog(tmp_path / "flight.log", embodiment=arm.embodiment, causes=CAUSES)

    class Mad(Wild):
        def act(self, observations, *, seeds):
            (chunk,) = super().act(observations, seeds=seeds)
            rows = chunk.actions if self.plans < 3 else chunk.actions * np.nan
            return [ActionChunk(actions=rows, time=chunk.time)]

    world = RobotWorld(arm, arm, gate=config.gate.build(arm.embodiment), scene=arm, log=log)
    controller = ControlConfig(execute=4).build(Mad(arm.embodiment, {}))
    with pytest.raises(GateRefusal, match="NOT_FINITE"):
        run_live(world, controller, seed=0, log=log, steps=60)
    ticks = read_flight(log.path).ticks
    assert ticks["latched"].tolist() == [False] * (len(ticks) - 1) + [True]
    assert np.isfinite(commands(tmp_path / "commands.jsonl")).all()
