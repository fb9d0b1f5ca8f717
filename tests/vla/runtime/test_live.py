"""A live run ends in good order: by itself, by time, by a signal, by an error."""

import os
import signal
import time

import numpy as np
import pytest

from vla.embodiment import Axis, Embodiment
from vla.errors import GateRefusal
from vla.runtime import live
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog, read_flight
from vla.types import Observation, Outcome

AXES = (Axis(name="x", unit="m", low=-9, high=9),)
BODY = Embodiment(name="toy", state=AXES, action=AXES, cameras={}, hz=10)


class Line:
    """Ticks of 0.1 s that take no time; ends after `length` of them."""

    embodiment = BODY

    def __init__(self, log, *, length=1000, refuse_at=None):
        self.log, self.length, self.refuse_at = log, length, refuse_at
        self.tick, self.closed = 0, 0

    def reset(self, *, seed):
        return self.observe()

    def observe(self):
        state = np.array([[self.tick]], np.float32)
        return Observation(images={}, state=state, instruction="", time=self.tick / 10)

    def step(self, action):
        if self.tick == self.refuse_at:
            raise GateRefusal("latched")
        self.log.append(time=self.tick / 10, deadline=self.tick / 10, wanted=action, sent=action)
        self.tick += 1
        return self.observe()

    def outcome(self):
        ended = self.tick >= self.length
        return Outcome(success=ended, ended=ended, reason="done" if ended else "")

    def close(self):
        self.closed += 1


class Plans:
    """Two rows per plan."""

    chunk = None

    def __init__(self):
        self.calls = -1

    def reset(self, *, seed):
        self.seed = seed

    def __call__(self, observation):
        self.calls += 1
        self.chunk_index, self.row = divmod(self.calls, 2)
        return np.ones(1, np.float32)


@pytest.fixture
def log(tmp_path):
    return FlightLog(tmp_path / "a.log", embodiment=BODY, causes=("NONE",))


def test_ends_with_the_world_and_logs_the_plan(log):
    world = Line(log, length=5)
    figures = run_live(world, Plans(), seed=1, log=log)
    assert (figures["reason"], figures["success"], figures["detail"]) == ("ended", True, "done")
    assert figures["ticks"] == 5
    assert figures["plans"] == 3
    assert world.closed == 1
    assert read_flight(log.path).ticks["row"].tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("limit", "ticks", "reason"), [({"seconds": 0.35}, 4, "time"), ({"steps": 3}, 3, "steps")]
)
def test_limits(log, limit, ticks, reason):
    figures = run_live(Line(log), Plans(), seed=0, log=log, **limit)
    assert (figures["ticks"], figures["reason"], figures["success"]) == (ticks, reason, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_after_the_tick_and_closes(log, number):
    before = signal.getsignal(number)
    world = Line(log)

    def progress(tick):
        if tick.index == 2:
            os.kill(os.getpid(), number)
            time.sleep(0.01)

    figures = run_live(world, Plans(), seed=0, log=log, progress=progress)
    assert (figures["ticks"], figures["reason"]) == (3, number.name)
    assert world.closed == 1
    assert signal.getsignal(number) is before


def test_a_second_signal_soon_after_changes_nothing(log):
    def progress(tick):
        if tick.index == 2:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    figures = run_live(Line(log), Plans(), seed=0, log=log, progress=progress)
    assert (figures["ticks"], figures["reason"]) == (3, "SIGINT")


def test_a_later_signal_does_not_wait(log, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.05)
    world = Line(log)

    def progress(tick):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        pytest.fail("the later signal was not heard")

    with pytest.raises(KeyboardInterrupt):
        run_live(world, Plans(), seed=0, log=log, progress=progress)
    assert world.closed == 1


def test_a_latched_gate_is_an_error_after_closing(log):
    world = Line(log, refuse_at=2)
    with pytest.raises(GateRefusal):
        run_live(world, Plans(), seed=0, log=log)
    assert world.closed == 1
    assert len(read_flight(log.path).ticks) == 2
