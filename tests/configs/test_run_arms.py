"""`vla run robot=ur` and `robot=xarm`: the verb, the genuine SDK, an emulated controller."""

import numpy as np
import pytest

from configs.schemas import GROUPS, RunJob
from configs.verbs.run import fly
from envs.config import TabletopConfig
from robot_drivers.emulators.arm_process import ArmEmulator
from vla.data.store import TrajectoryStore
from vla.errors import ArmStopped
from vla.runtime.record import read_flight
from vla.types import ActionChunk

pytest.importorskip("rtde_control", reason="needs vla-stack[ur]")
pytest.importorskip("xarm", reason="needs vla-stack[xarm]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
STEP = 0.01


class Turn:
    """A scripted policy: joint 1 goes on by STEP rad per tick from where it is planned."""

    history = 1

    def __init__(self, embodiment, fault=None, after=3):
        self.embodiment, self.fault, self.after, self.plans = embodiment, fault, after, 0

    def act(self, observations, *, seeds):
        self.plans += 1
        if self.fault is not None and self.plans == self.after:
            self.fault()
        chunks = []
        for seen in observations:
            if self.plans == 1:
                self.goal = seen.state[-1, : len(self.embodiment.action)].copy()
            rows = np.repeat(self.goal[None], 4, axis=0)
            rows[:, 0] += STEP * np.arange(1, 5)
            self.goal = rows[-1]
            chunks.append(ActionChunk(actions=rows.astype(np.float32), time=seen.time))
        return chunks


def job(kind, host, tmp_path):
    slow = {"watchdog_hz": 1.0} if kind == "ur" else {}  # a busy test machine
    robot = GROUPS["robot"][kind](host=host, pose=False, silence=0.5, **slow)
    return RunJob(
        checkpoint="none",
        robot=robot,
        world=TabletopConfig(image_size=32),
        task="reach",
        instruction="turn the base",
        seconds=1.0,
        until="time",
        record=str(tmp_path / "store"),
        output=str(tmp_path),
    )


def steer(wanted, policy):
    return wanted.robot.steady(wanted.control.build(policy))


@pytest.mark.parametrize("kind", ["ur", "xarm"])
def test_a_policy_flies_an_arm_and_is_recorded(kind, tmp_path):
    with ArmEmulator(kind) as arm:
        wanted = job(kind, arm.host, tmp_path)
        body = wanted.robot.build().embodiment
        start = np.array(arm.status()["q"])
        log = tmp_path / "flight-0.vlalog"
        facts = {"job": {}, "weights_sha256": "abc"}
        figures = fly(wanted, steer(wanted, Turn(body)), log, body=body, seed=0, facts=facts)
        truth = arm.status()
    ticks = read_flight(log).ticks
    assert figures["reason"] == "time"
    assert not any(figures["refusals"].values())
    assert len(ticks) >= 15
    np.testing.assert_array_equal(ticks["sent"], ticks["wanted"])
    assert truth["not_finite"] == 0
    assert truth["largest_step"] < 2 * STEP
    assert truth["q"][0] == pytest.approx(ticks["sent"][-1, 0], abs=2 * STEP)
    np.testing.assert_allclose(truth["q"][1:], start[1:], atol=1e-3)
    store = TrajectoryStore.open(wanted.record)
    assert store.num_episodes == 1
    assert store.episode(0).instruction == "turn the base"


@pytest.mark.parametrize("kind", ["ur", "xarm"])
def test_a_protective_stop_ends_the_flight_with_its_name(kind, tmp_path):
    with ArmEmulator(kind) as arm:
        wanted = job(kind, arm.host, tmp_path)
        body = wanted.robot.build().embodiment
        policy = Turn(body, fault=lambda: arm.fail(protective_stop=True))
        log = tmp_path / "flight-0.vlalog"
        facts, controller = {"job": {}, "weights_sha256": "abc"}, steer(wanted, policy)
        with pytest.raises(ArmStopped, match="recover"):
            fly(wanted, controller, log, body=body, seed=0, facts=facts)
        stopped = np.array(arm.status()["velocity"])
    assert np.abs(stopped).max() < 1e-3
    assert read_flight(log).ticks["latched"][-1]
