"""RobotWorld: what reaches the arm, what is logged, and what happens when a device fails."""

import numpy as np
import pytest

from robot_drivers.cameras import NoCameras, check_frames
from robot_drivers.config import GateConfig
from robot_drivers.limits import Cause
from robot_drivers.robot_world import CAUSES, RobotWorld
from robot_drivers.stops import StopFile
from tests.robot_drivers.fake_plant import HOME, point_body
from vla.contract import World
from vla.errors import GateRefusal, RobotError
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.states import State
from vla.runtime.ticker import Ticker
from vla.types import Outcome

BODY = point_body()
BOX = {"workspace_low": [0.2, -0.3, 0.02], "workspace_high": [0.7, 0.3, 0.5]}


class Bench:
    """A robot, its cameras, its scene and its clock, all virtual and in one place."""

    embodiment = BODY

    def __init__(self):
        self.now, self.place, self.received, self.calls = 50.0, np.array(HOME), [], []
        self.image_age = self.state_age = 0.0
        self.fail = None
        self.joint = 0.5

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def connect(self):
        self.calls.append("connect")

    def read(self):
        if self.fail == "read":
            raise RobotError("cable")
        state = np.array([*self.place, self.joint, 1.0], np.float32)
        return state, self.now - self.state_age

    def write(self, action):
        if self.fail == "write":
            raise RobotError("cable")
        self.received.append(action.copy())
        self.place = self.place + action[:3]
        return action

    def halt(self):
        self.calls.append("halt")
        if self.fail == "halt":
            raise RobotError("no answer")

    def latest(self):
        image = np.zeros((8, 8, 3), np.uint8)
        return dict.fromkeys(("front", "wrist"), (image, self.now - self.image_age))

    def close(self):
        self.calls.append("close")

    def arrange(self, *, seed):
        self.calls.append(("arrange", seed))
        return "scene's words"

    def outcome(self):
        return Outcome(success=self.place[0] > 0.46, ended=self.place[0] > 0.46)


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def world(bench, tmp_path):
    log = FlightLog(tmp_path / "flight.log", embodiment=BODY, causes=CAUSES)
    yield make(bench, log=log)
    log.close()


def make(bench, *, log=None, **options):
    ticker = Ticker(BODY.hz, clock=bench.clock, sleep=bench.sleep)
    gate = GateConfig(latch_after=3, **BOX).build(BODY)
    options = {"scene": bench, "gate": gate, **options}
    return RobotWorld(bench, bench, log=log, clock=bench.clock, ticker=ticker, **options)


def ticks(tmp_path):
    return read_flight(tmp_path / "flight.log").ticks


def push(world, ticks, x):
    for _ in range(ticks):
        world.step(move(x))


def move(x=0.0):
    return np.array([x, 0, 0, 1], np.float32)


def test_a_normal_episode(bench, world, tmp_path):
    assert isinstance(world, World)
    observation = world.reset(seed=4)
    assert bench.calls == [("arrange", 4), "connect"]
    assert observation.instruction == "scene's words"
    assert observation.images["front"].shape == (1, 8, 8, 3)
    bench.state_age = 0.01
    after = world.step(move(0.01))
    assert after.time == pytest.approx(50.0 + 0.05 - 0.01, abs=1e-3)
    assert after.state[0, 0] == pytest.approx(0.46)
    bench.now += 0.12
    world.step(move(0.01))
    assert world.outcome().ended
    log = ticks(tmp_path)
    np.testing.assert_allclose(log["sent"][:, 0], 0.01, rtol=1e-6)
    np.testing.assert_allclose(log["deadline"], [50.0, 50.05], atol=1e-9)
    np.testing.assert_allclose(log["state_time"], [50.0, 50.04], atol=1e-3)
    world.step(move())
    assert ticks(tmp_path)["missed"].tolist() == [0, 0, 1]  # the last slot is still run, late
    world.close()
    world.close()
    assert bench.calls[2:] == ["halt", "close", "close"]  # one for the arm, one for the cameras


def test_without_a_scene_the_caller_says_what_to_do(bench):
    world = make(bench, scene=None, instruction="by hand")
    assert world.reset(seed=0).instruction == "by hand"
    assert not world.outcome().ended


def test_what_is_refused_never_reaches_the_arm_and_is_logged(bench, world, tmp_path):
    world.reset(seed=0)
    wild = [move(np.nan), move(0.02), move(), move(0.5), np.zeros(3, np.float32), move(0.01)]
    for action in wild:
        world.step(action)
    received = np.array(bench.received)
    np.testing.assert_allclose(received[:, 0], [0, 0, 0, 0, 0, 0.01], rtol=1e-6)
    log = ticks(tmp_path)
    assert [Cause(c).name for c in log["cause"]] == (
        ["NOT_FINITE", "VELOCITY", "NONE", "BOUNDS", "SHAPE", "NONE"]
    )
    np.testing.assert_allclose(log["wanted"][:, 0], [np.nan, 0.02, 0, 0.5, np.nan, 0.01], rtol=1e-6)
    np.testing.assert_array_equal(log["sent"], received)


def test_a_latch_halts_ends_the_episode_and_needs_a_release(bench, world, tmp_path):
    world.reset(seed=0)
    for _ in range(2):
        world.step(move(np.nan))
    with pytest.raises(GateRefusal, match="NOT_FINITE"):
        world.step(move(np.nan))
    assert bench.calls[-1] == "halt"
    assert ticks(tmp_path)["latched"].tolist() == [False, False, True]
    with pytest.raises(GateRefusal, match="release"):
        world.reset(seed=0)
    world.gate.release()
    world.reset(seed=0)
    world.step(move(0.01))


def test_emergency_stop(bench, world):
    world.reset(seed=0)
    world.step(move(0.01))
    world.gate.latch()
    with pytest.raises(GateRefusal, match="ESTOP"):
        world.step(move(0.01))
    np.testing.assert_array_equal(bench.received[-1], move(0.0))
    assert bench.calls[-1] == "halt"


@pytest.mark.parametrize("sense", ["image_age", "state_age"])
def test_a_frozen_sensor_holds_and_latches_when_it_stays_frozen(bench, tmp_path, sense):
    world = make(bench, gate=GateConfig(hold_limit=0.5, **BOX).build(BODY))
    world.reset(seed=0)
    setattr(bench, sense, 0.5)
    world.step(move(0.01))  # judged by the fresh observation of the reset
    for _ in range(4):
        world.step(move(0.01))
        np.testing.assert_array_equal(bench.received[-1], move(0.0))
    setattr(bench, sense, 0.0)
    world.step(move(0.01))  # judged by the last old one
    world.step(move(0.01))
    np.testing.assert_array_equal(bench.received[-1], move(0.01))
    setattr(bench, sense, 0.5)
    with pytest.raises(GateRefusal, match="STALE"):
        push(world, 12, 0.01)


def test_a_stop_slows_down_before_it_refuses(bench, tmp_path):
    config = GateConfig(linear_acceleration=1.0, **BOX)
    log = FlightLog(tmp_path / "slow.log", embodiment=BODY, causes=CAUSES)
    world = make(bench, gate=config.build(BODY), log=log)
    world.reset(seed=0)
    for step in (0.0025, 0.005, 0.0075):
        world.step(move(step))
    world.gate.latch(Cause.STOP)
    with pytest.raises(GateRefusal, match="STOP"):
        push(world, 5, 0.0075)
    np.testing.assert_allclose([c[0] for c in bench.received[3:]], [0.005, 0.0025], atol=1e-6)
    assert bench.calls[-1] == "halt"
    log.close()
    modes = read_flight(log.path).ticks["mode"]
    assert [State(m) for m in modes] == [State.RUN] * 3 + [State.STOP] * 2


def test_the_pilot_is_asked_for_the_age_of_its_plans_and_told_what_was_sent(bench):
    class LatePilot:
        holding, age, told = False, 0.0, []

        def plan_age(self, now):
            return self.age

        def sent(self, command):
            self.told.append(command.copy())

    pilot = LatePilot()
    world = make(bench, pilot=pilot)
    world.reset(seed=0)
    world.step(move(0.01))
    pilot.age = 0.6
    world.step(move(0.01))
    np.testing.assert_array_equal(pilot.told, [move(0.01), move(0.0)])


def test_any_stop_source_stops_at_once(bench, tmp_path):
    path = tmp_path / "stop"
    world = make(bench, stops=[StopFile(str(path))])
    world.reset(seed=0)
    world.step(move(0.01))
    path.touch()
    with pytest.raises(GateRefusal, match="ESTOP"):
        world.step(move(0.01))
    np.testing.assert_array_equal(bench.received[-1], move(0.0))
    with pytest.raises(RobotError, match="exists"):
        StopFile(str(path))


@pytest.mark.parametrize("fault", ["read", "write"])
def test_a_fault_halts_is_logged_and_latches(bench, world, fault, tmp_path):
    world.reset(seed=0)
    bench.fail = fault
    with pytest.raises(RobotError, match="cable"):
        world.step(move(0.01))
    assert bench.calls[-1] == "halt"
    log = ticks(tmp_path)
    assert Cause(log["cause"][-1]) is Cause.FAULT
    assert np.isnan(log["sent"][-1]).all()
    with pytest.raises(GateRefusal, match="FAULT"):
        world.reset(seed=0)


def test_a_failing_halt_is_not_hidden(bench, world):
    world.reset(seed=0)
    world.gate.latch()
    bench.fail = "halt"
    with pytest.raises(GateRefusal) as caught:
        world.step(move())
    assert "no answer" in caught.value.__notes__[0]


def test_start_is_refused_outside_the_limits_or_with_old_pictures(bench, world):
    bench.place = np.array([0.45, 0.0, -0.05])
    with pytest.raises(RobotError, match=r"z is -0\.050"):
        world.reset(seed=0)
    bench.place, bench.image_age = np.array(HOME), 3.0
    with pytest.raises(RobotError, match=r"3\.00 s old"):
        world.reset(seed=0)
    bench.image_age, bench.joint = 0.0, np.nan
    with pytest.raises(RobotError, match="sensor"):
        world.reset(seed=0)
    assert bench.received == []


def test_cameras_are_checked():
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(RobotError, match="'wrist' gives no picture"):
        check_frames({"front": (picture, 0.0)}, BODY)
    with pytest.raises(RobotError, match=r"\(4, 8, 3\)"):
        check_frames({"front": (picture[:4], 0.0), "wrist": (picture, 0.0)}, BODY)
    with pytest.raises(RobotError, match="none"):
        check_frames(NoCameras().latest(), BODY)
