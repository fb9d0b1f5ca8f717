"""Jerk, tracking, plan age, overrun; ways to stop; bridged losses; the way home."""

import os
import signal

import numpy as np
import pytest

from robot_drivers.cameras import NoCameras
from robot_drivers.causes import Cause
from robot_drivers.config import GateConfig, RobotConfig
from robot_drivers.homing import ReturningWorld
from robot_drivers.link import BridgedRobot, DelayedCameras
from robot_drivers.robot_world import RobotWorld
from robot_drivers.stops import KEY_EVENT, StopDevice, open_stops
from tests.robot_drivers.test_gate import gate, joint_body, judge, move
from tests.robot_drivers.test_robot_world import Bench
from vla.errors import ConfigError, RobotError
from vla.runtime.ticker import Ticker

HERE = np.zeros(7, np.float32)


def test_jerk_is_limited_where_asked_for():
    g = gate(linear_acceleration=2.0, linear_jerk=20.0)  # 1 m/s^2 more per tick of 0.05 s
    assert judge(g, move(x=0.0024)).cause is Cause.NONE  # 0.048 m/s, 0.96 m/s^2
    assert judge(g, move(x=0.0024)).cause is Cause.NONE
    assert judge(g, move(x=0.0074)).cause is Cause.JERK
    assert judge(gate(linear_acceleration=2.0), move(x=0.0049)).cause is Cause.NONE


def test_a_blocked_joint_is_noticed_and_held():
    g = gate(joint_body(), tracking=0.05, lead=10.0, joint_acceleration=100.0)
    causes = []
    for k in (1, 2, 3, 4, 4):
        goal = HERE.copy()
        goal[1] = 0.02 * k
        causes.append(judge(g, goal, state=HERE).cause)
    assert causes[:3] == [Cause.NONE] * 3
    assert causes[3:5] == [Cause.TRACKING] * 2


def test_old_plans_and_missed_slots_hold():
    g = gate()
    judge(g, move())
    old = g.judge(move(), state=np.float32([0.45, 0, 0.2, 0, 0, 0, 0.5, 1]), age=0, plan_age=0.6)
    assert old.cause is Cause.PLAN
    late = g.judge(move(), state=np.float32([0.45, 0, 0.2, 0, 0, 0, 0.5, 1]), age=0, missed=6)
    assert late.cause is Cause.OVERRUN
    assert not late.latched


def test_limits_for_the_controller_share_a_norm_out():
    speed, acceleration = gate(linear_speed=0.3).motion
    np.testing.assert_allclose(speed[:3], 0.3 / np.sqrt(3))
    assert np.isinf(speed[6])
    assert acceleration.shape == (7,)


def test_no_milder_stop_takes_the_place_of_an_emergency_stop():
    g = gate()
    g.latch(Cause.ESTOP)
    g.latch(Cause.STOP)
    assert g.latch_cause is Cause.ESTOP


def test_the_signal_and_a_device_stop(tmp_path):
    (source,) = open_stops(RobotConfig(stop_key=False))
    assert source.pressed() is Cause.NONE
    os.kill(os.getpid(), signal.SIGUSR1)
    assert source.pressed() is Cause.ESTOP
    source.close()
    source.close()
    with pytest.raises(RobotError, match="plugged in"):
        open_stops(RobotConfig(stop_device=str(tmp_path / "none")))
    pipe = tmp_path / "events"
    os.mkfifo(pipe)
    device = StopDevice(str(pipe))
    writer = os.open(pipe, os.O_WRONLY)
    assert device.pressed() is Cause.NONE
    os.write(writer, bytes(16) + KEY_EVENT + b"\x1e\x00" + (0).to_bytes(4, "little"))
    assert device.pressed() is Cause.NONE  # a key that came up
    os.write(writer, bytes(16) + KEY_EVENT + b"\x1e\x00" + (1).to_bytes(4, "little"))
    assert device.pressed() is Cause.ESTOP
    os.close(writer)
    assert device.pressed() is Cause.ESTOP  # pulled out
    device.close()
    assert device.pressed() is Cause.ESTOP


def test_losses_are_bridged_counted_and_raised_when_they_go_on():
    bench = Bench()
    robot = BridgedRobot(bench, losses=2, delay=0.01)
    bench.fail = "read"
    with pytest.raises(RobotError, match="cable"):
        robot.read()  # no state yet to bridge with
    bench.fail = None
    state, when = robot.read()
    assert when == pytest.approx(bench.now - 0.01)
    bench.fail, bench.now = "read", bench.now + 1
    for _ in range(2):
        again, same = robot.read()
        assert same == when
        assert again is state
    with pytest.raises(RobotError, match="cable"):
        robot.read()
    bench.fail = "write"
    for _ in range(2):
        assert np.isnan(robot.write(np.zeros(4, np.float32))).all()
        robot.read()
    with pytest.raises(RobotError, match="cable"):
        robot.write(np.zeros(4, np.float32))
    assert robot.lost == 6
    frames = DelayedCameras(bench, {"front": 0.05}).latest()
    assert frames["front"][1] == pytest.approx(frames["wrist"][1] - 0.05)


class Joints(Bench):
    """Absolute joints that are where they were sent."""

    embodiment = joint_body()

    def __init__(self):
        super().__init__()
        self.at = HERE.copy()

    def read(self):
        return self.at.copy(), self.now

    def write(self, action):
        self.received.append(action.copy())
        self.at = action.copy()
        return action


def returning(bench, home, **options):
    ticker = Ticker(50, clock=bench.clock, sleep=bench.sleep)
    g = GateConfig(joint_acceleration=10.0).build(joint_body())
    world = RobotWorld(bench, NoCameras(), gate=g, clock=bench.clock, ticker=ticker)
    return ReturningWorld(world, home, **{"seconds": 5.0, **options}), g


def test_the_way_home_is_slow_and_ends_there():
    bench = Joints()
    world, _ = returning(bench, [0.3, -0.2, 0, 0, 0, 0, 0.5])
    world.reset(seed=0)
    for k in range(1, 6):
        world.step(np.float32([0.002 * k, 0, 0, 0, 0, 0, 1]))
    world.close()
    path = np.array(bench.received)
    np.testing.assert_allclose(path[-1][:2], [0.3, -0.2], atol=0.011)
    assert (np.abs(np.diff(path[:, :6], axis=0)) * 50 <= 1.05 * 0.5 + 1e-3).all()
    assert bench.calls[-2:] == ["halt", "close"] or "halt" in bench.calls


def test_nobody_goes_home_after_a_stop_or_without_having_moved():
    for latch in (True, False):
        bench = Joints()
        world, g = returning(bench, [0.3] * 6 + [0.5])
        world.reset(seed=0)
        if latch:
            world.step(HERE)
            g.latch(Cause.ESTOP)
        sent = len(bench.received)
        world.close()
        assert len(bench.received) == sent
    with pytest.raises(ConfigError, match=r"robot\.home"):
        returning(Joints(), [0.0])


def test_a_way_home_that_takes_too_long_is_an_error_after_closing():
    bench = Joints()
    world, _ = returning(bench, [1.5] * 6 + [0.5], seconds=0.5)
    world.reset(seed=0)
    world.step(HERE)
    with pytest.raises(RobotError, match="home_time"):
        world.close()
    assert "halt" in bench.calls
