"""A flight is computed again from its log alone: equal bit for bit, and differences are found."""

from dataclasses import replace

import numpy as np
import pytest

from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import GateConfig
from robot_drivers.replay import motion_limits, replay_flight
from robot_drivers.robot_world import RobotWorld
from tests.robot_drivers.test_robot_world import BODY, BOX, Bench
from vla.runtime.chunking import admission
from vla.runtime.config import AsyncControlConfig, ControlConfig
from vla.runtime.flight_figures import changes
from vla.runtime.follower import PlanFollower
from vla.runtime.live import run_live
from vla.runtime.plan_log import plan_path, read_plans
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.streaming import at_rate
from vla.runtime.ticker import Ticker
from vla.types import ActionChunk

GATE = GateConfig(linear_acceleration=3.0, latch_after=3, hold_limit=60, **BOX)


def plan(time, seed, rows=8):
    random = np.random.default_rng(seed)
    actions = np.cumsum(random.normal(0, 0.002, (rows, 4)), axis=0).astype(np.float32)
    actions[:, 3] = np.clip(random.normal(0.5, 0.3, rows), 0, 1)
    return ActionChunk(actions=actions, time=time)


class VirtualPilot:
    """The asynchronous controller on the bench's clock; `plans` says when a plan comes."""

    def __init__(self, bench, config, limits, wanted):
        self.follower = PlanFollower(BODY, config=config, limits=limits)
        self.embodiment, self.bench, self.wanted = self.follower.embodiment, bench, wanted
        self.ticks, self.due = 0, 0.0

    def reset(self, *, seed):
        self.follower.reset()

    def __call__(self, observation):
        self.ticks += 1
        self.due = self.bench.clock()
        if self.wanted(self.ticks):
            self.follower.accept(plan(observation.time, self.ticks), now=self.due)
        return self.follower.command(observation.state[-1], now=self.due)

    def sent(self, command):
        self.follower.sent(command)

    def plan_age(self, now):
        return self.follower.plan_age(now)

    chunk = property(lambda self: self.follower.chunk)
    chunk_index = property(lambda self: self.follower.chunk_index)
    row = property(lambda self: self.follower.row)
    holding = property(lambda self: self.follower.holding)


def fly(tmp_path, wanted, ticks=300, disturb=lambda bench, tick: None):
    bench, config = Bench(), AsyncControlConfig(hz=100.0)
    body = at_rate(BODY, 100.0)
    gate = GATE.build(body)
    log = FlightLog(tmp_path / "a.vlalog", embodiment=body, causes=CAUSES)
    pilot = VirtualPilot(bench, config, motion_limits(gate), wanted)
    ticker = Ticker(100, clock=bench.clock, sleep=bench.sleep)
    world = RobotWorld(
        bench, bench, gate=gate, log=log, pilot=pilot, embodiment=body, clock=bench.clock,
        ticker=ticker,
    )  # fmt: skip
    run_live(world, pilot, seed=0, log=log, steps=ticks, progress=lambda t: disturb(bench, t.index))
    return read_flight(log.path), read_plans(plan_path(log.path)), config, body


def again(flight, plans, control, body, gate=GATE):
    return replay_flight(flight, plans, control=control, gate=gate.build(body), policy_body=BODY)


def test_an_asynchronous_flight_with_holds_is_reproduced_bit_for_bit(tmp_path):
    def disturb(bench, tick):
        bench.image_age = 0.4 if 200 <= tick < 220 else 0.0

    flight, plans, control, body = fly(tmp_path, lambda n: n % 7 == 1 and not 80 < n < 130,
                                       disturb=disturb)  # fmt: skip
    assert {"RUN", "HOLD"} <= {c["to"] for c in changes(flight)}
    assert "plan" in {c["cause"] for c in changes(flight)}
    assert (flight.ticks["cause"] == Cause.STALE).any()
    assert np.abs(flight.ticks["sent"][:, :3]).max() > 1e-3
    result = again(flight, plans, control, body)
    assert result.identical, result
    assert result.ticks == 300


def test_differences_are_found(tmp_path):
    flight, plans, control, body = fly(tmp_path, lambda n: n % 7 == 1, ticks=100)
    other = replace(GATE, linear_speed=0.02)
    assert again(flight, plans, control, body, gate=other).causes
    plans[3].chunk.actions[:] *= 1.01
    assert again(flight, plans, control, body).wanted


class Stepper:
    """A policy for the synchronous controller."""

    embodiment, history = BODY, 1

    def act(self, observations, *, seeds):
        return [plan(o.time, seed % 1000) for o, seed in zip(observations, seeds, strict=True)]


def test_a_synchronous_flight_with_refusals_is_reproduced(tmp_path):
    bench, control = Bench(), ControlConfig(execute=3, rate_limits={"gripper": 4.0})
    gate = GateConfig(linear_acceleration=1.0, latch_after=50, **BOX)
    log = FlightLog(tmp_path / "s.vlalog", embodiment=BODY, causes=CAUSES)
    ticker = Ticker(BODY.hz, clock=bench.clock, sleep=bench.sleep)
    world = RobotWorld(bench, bench, gate=gate.build(BODY), log=log, clock=bench.clock,
                       ticker=ticker)  # fmt: skip
    run_live(world, control.build(Stepper()), seed=3, log=log, steps=60)
    flight = read_flight(log.path)
    assert (flight.ticks["cause"] == Cause.ACCELERATION).any()
    result = again(flight, read_plans(plan_path(log.path)), control, BODY, gate=gate)
    assert result.identical, result


def test_a_plan_log_that_was_cut_off_is_read_to_its_last_whole_plan(tmp_path):
    fly(tmp_path, lambda n: n % 7 == 1, ticks=30)
    path = tmp_path / "a.plans"
    count = len(read_plans(path))
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_plans(path)) == count - 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"actions": np.full((3, 4), np.nan, np.float32)}, "not_finite"),
        ({"actions": np.zeros((3, 2), np.float32)}, "shape"),
        ({"actions": np.full((3, 4), 500, np.float32)}, "bounds"),
        ({"time": 9.0}, "not_newer"),
        ({"time": 11.0}, "future"),
        ({"time": 9.2}, "old"),
    ],
)
def test_bad_plans_are_refused_whole(change, reason):
    values = {"actions": np.zeros((3, 4), np.float32), "time": 9.9, **change}
    chunk = ActionChunk(**values)
    said = admission(chunk, embodiment=BODY, newer_than=9.1, now=10.0, max_age=0.5)
    assert said == reason
