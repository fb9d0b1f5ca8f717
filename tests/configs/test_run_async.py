"""`vla run control=async` and `vla replay`, through the verbs, with a policy without weights."""

import json
import sys

import numpy as np
import pytest

from configs.replay_job import ReplayJob
from configs.run_job import RunJob
from configs.verbs import replay, run
from envs.config import TabletopConfig
from robot_drivers.config import RobotConfig, SimArmConfig
from vla.errors import ConfigError, RobotError
from vla.runtime.config import AsyncControlConfig, ControlConfig
from vla.runtime.faults import FaultConfig
from vla.runtime.record import read_flight
from vla.types import ActionChunk

WORLD = TabletopConfig(image_size=32)


class Drift:
    """A policy that creeps along x."""

    history = 1

    def __init__(self, embodiment):
        self.embodiment = embodiment

    def act(self, observations, *, seeds):
        rows = np.zeros((12, len(self.embodiment.action)), np.float32)
        rows[:, 0], rows[:, -1] = 0.002, 1.0
        return [ActionChunk(actions=rows, time=o.time) for o in observations]


def load_drift(path, *, device, embodiment):
    """Stands for `load_policy`; picklable by name, so the planning process finds it."""
    return Drift(embodiment), "cd" * 32


def job(tmp_path, **options):
    values = {
        "checkpoint": "none",
        "robot": SimArmConfig(),
        "world": WORLD,
        "task": "reach",
        "seconds": 1.5,
        "until": "time",
        "control": AsyncControlConfig(hz=100.0),
        "output": str(tmp_path),
    }
    return RunJob(**{**values, **options})


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_asynchronous_run_is_logged_and_replayed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "load_policy", load_drift)
    faults = FaultConfig(stall_at=0.4, stall=0.5)
    run.main(job(tmp_path, faults=faults))
    summary = json.loads((tmp_path / "summary.json").read_text())
    (flight,) = summary["flights"]
    assert set(flight["states"]) == {"RUN", "HOLD"}
    assert flight["plans"] > 2
    assert flight["scheduler"]
    ticks = read_flight(tmp_path / "flight-000.vlalog").ticks
    assert np.abs(ticks["sent"][:, 0]).max() <= 0.002 / 5 + 1e-6  # a fifth of a row's step
    replay.main(ReplayJob(log=str(tmp_path / "flight-000.vlalog")))
    assert "every command and verdict is the same" in " ".join(capsys.readouterr().out.split())
    plans = tmp_path / "flight-000.plans"
    content = bytearray(plans.read_bytes())
    content[20 + 4 * 7 + 3] ^= 0x40  # the first number of a row becomes another
    plans.write_bytes(bytes(content))
    with pytest.raises(SystemExit):
        replay.main(ReplayJob(log=str(tmp_path / "flight-000.vlalog")))


def test_an_operator_must_agree(tmp_path, monkeypatch):
    from rich.console import Console

    robot = RobotConfig()
    assert robot.confirm == "key"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(RobotError, match="terminal"):
        run.await_operator(robot, Console())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(Console, "input", lambda *_, **__: "no")
    with pytest.raises(RobotError, match="did not agree"):
        run.await_operator(robot, Console())
    monkeypatch.setattr(Console, "input", lambda *_, **__: "move ")
    run.await_operator(robot, Console())


def test_options_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="one row per command"):
        run.main(job(tmp_path, record=str(tmp_path / "store")))
    with pytest.raises(ConfigError, match="planning process"):
        job(tmp_path, control=ControlConfig(), faults=FaultConfig(nan_at=1.0))
