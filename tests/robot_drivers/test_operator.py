"""The person beside the arm: is told why it holds, and lets it go on."""

import os
import pty
import sys
import time

import numpy as np
import pytest

from robot_drivers.cameras import NoCameras
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import GateConfig
from robot_drivers.operator_line import PAUSE, OperatorLine
from robot_drivers.replay import motion_limits, replay_flight
from robot_drivers.robot_world import RobotWorld
from robot_drivers.stops import StopKey
from tests.robot_drivers.test_gate import joint_body
from vla.runtime.config import AsyncControlConfig
from vla.runtime.follower import Following, PlanFollower
from vla.runtime.live import run_live
from vla.runtime.plan_log import plan_path, read_plans
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.states import State
from vla.runtime.ticker import Ticker
from vla.types import ActionChunk, Outcome

BODY = joint_body()
CONFIG = AsyncControlConfig(stale=0.25, resume_jump=0.1)
FAR = np.full(7, 0.8, np.float32)


class Arm:
    """Seven joints that are where they were sent, on a clock of their own."""

    embodiment = BODY

    def __init__(self):
        self.now, self.place = 50.0, np.full(7, 0.5, np.float32)

    def connect(self):
        self.now += 0.0

    def read(self):
        return self.place.copy(), self.now

    def write(self, action):
        self.place = action.copy()
        return action

    def sleep(self, seconds):
        self.now += seconds

    def outcome(self):
        return Outcome(success=False, ended=False)

    halt = close = connect


class FarPilot(Following):
    """Its plans are 0.3 rad away from the arm, and come every tick."""

    def __init__(self, arm, limits):
        self.follower = PlanFollower(BODY, config=CONFIG, limits=limits)
        self.embodiment, self.arm, self.due = self.follower.embodiment, arm, 0.0

    def reset(self, *, seed):
        self.follower.reset()

    def __call__(self, observation):
        self.due = self.arm.now
        rows = np.repeat(FAR[None], 20, axis=0)
        self.follower.accept(ActionChunk(actions=rows, time=observation.time), now=self.due)
        return self.follower.command(observation.state[-1], now=self.due)

    def sent(self, command):
        self.follower.sent(command)

    def plan_age(self, now):
        return self.follower.plan_age(now)

    chunk = property(lambda self: self.follower.chunk)


class Person:
    """Presses Enter at the ticks given."""

    def __init__(self, *ticks):
        self.ticks, self.shown = ticks, []

    def show(self, state, why):
        self.shown.append((state, why))

    def resumes(self):
        return len(self.shown) in self.ticks


def test_enter_ends_a_hold_and_the_flight_is_computed_again(tmp_path):
    arm, gate = Arm(), GateConfig()
    judge, log = gate.build(BODY), FlightLog(tmp_path / "f.vlalog", embodiment=BODY, causes=CAUSES)
    person, pilot = Person(5), FarPilot(arm, motion_limits(judge))
    world = RobotWorld(
        arm, NoCameras(), gate=judge, log=log, pilot=pilot, operator=person,
        clock=lambda: arm.now, ticker=Ticker(BODY.hz, clock=lambda: arm.now, sleep=arm.sleep),
    )  # fmt: skip
    run_live(world, pilot, seed=0, log=log, steps=12)
    assert person.shown[:5] == [(State.HOLD, "FAR")] * 5
    assert person.shown[5:] == [(State.RUN, "")] * 7
    flight = read_flight(log.path)
    ticks = flight.ticks
    assert np.flatnonzero(ticks["resumed"]).tolist() == [5]
    assert (ticks["gated"][:5] == np.float32(0.5)).all()
    step = np.diff(ticks["gated"][:, 0])
    assert 0 < step.max() <= gate.joint_speed / BODY.hz * 1.001
    plans = read_plans(plan_path(log.path))

    def fly_again():
        return replay_flight(flight, plans, control=CONFIG, gate=gate.build(BODY), policy_body=BODY)

    assert fly_again().identical
    forgotten = type(flight)(header=flight.header, ticks=ticks.copy())
    forgotten.ticks["resumed"] = False
    assert not replay_flight(
        forgotten, plans, control=CONFIG, gate=gate.build(BODY), policy_body=BODY
    ).identical


def test_an_agreement_does_not_wait_for_a_plan():
    follower = PlanFollower(BODY, config=CONFIG, limits=motion_limits(GateConfig().build(BODY)))
    here = np.full(7, 0.5, np.float32)
    follower.resume()
    follower.command(here, now=10.0)  # no plan yet: the word is void
    rows = np.repeat(FAR[None], 20, axis=0)
    follower.accept(ActionChunk(actions=rows, time=10.0), now=10.01)
    follower.command(here, now=10.02)
    assert follower.holding
    assert follower.far


@pytest.fixture
def keys(monkeypatch):
    """A terminal: what a person types into, and the key reader on the other side."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r", closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        key = StopKey()
        yield ours, theirs, key
        key.close()
    os.close(ours)
    os.close(theirs)


def press(ours, key, text):
    os.write(ours, text)
    until, causes, resumed = time.monotonic() + 5, [], False
    while time.monotonic() < until and not resumed and Cause.ESTOP not in causes:
        causes.append(key.pressed())
        resumed |= key.resumes()
    return resumed, Cause.ESTOP in causes


def test_enter_and_space_are_told_apart(keys):
    ours, _, key = keys
    assert press(ours, key, b"xy\n") == (True, False)
    assert not key.resumes()  # heard once
    assert press(ours, key, b" ") == (False, True)


def test_the_line_says_what_to_do_and_never_waits(keys):
    ours, theirs, key = keys
    now = [0.0]
    line = OperatorLine([key], terminal=os.ttyname(theirs), clock=lambda: now[0])
    line.show(State.HOLD, "FAR")
    line.show(State.RUN, "")  # too soon after the last line
    now[0] += PAUSE
    line.show(State.HOLD, "NOT_FINITE")
    time.sleep(0.05)
    said = os.read(ours, 4096).decode()
    assert "HOLD: the plan is far from the arm. Enter: go there" in said
    assert "HOLD: not finite" in said
    assert "RUN" not in said
    begin = time.process_time()
    for number in range(3000):  # nobody reads the other end any more
        now[0] += PAUSE
        line.show(State.HOLD, f"CAUSE_{number}")
    assert time.process_time() - begin < 5
    line.close()
    line.close()
