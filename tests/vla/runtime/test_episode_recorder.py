"""What was flown is what the store holds; nothing that was committed is ever lost."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from robot_drivers.config import GateConfig, SimArmConfig
from robot_drivers.robot_world import CAUSES, RobotWorld
from tests.robot_drivers.fake_plant import PointFactory
from vla.contract import World
from vla.data.codec import build_codec
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import DataError, EmbodimentMismatch, GateRefusal
from vla.runtime.episode_recorder import EpisodeRecorder, open_recording
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.rollout import rollout
from vla.runtime.unending import UnendingWorld
from vla.types import Observation, Outcome, Trajectory

AXES = (Axis(name="x", unit="m", low=-9, high=9),)
BODY = Embodiment(
    name="toy", state=AXES, action=AXES, cameras={"front": Camera(height=16, width=16)}, hz=10
)


def picture(tick):
    return np.full((16, 16, 3), 10 * tick, np.uint8)


class Line:
    """Ticks of 0.1 s that take no time; success after `length` of them; logs half the command."""

    embodiment = BODY

    def __init__(self, *, log=None, length=4, refuse_at=None):
        self.log, self.length, self.refuse_at, self.closed = log, length, refuse_at, 0

    def reset(self, *, seed):
        self.tick = 0
        return self.observe()

    def observe(self):
        return Observation(
            images={"front": picture(self.tick)[None]},
            state=np.array([[self.tick]], np.float32),
            instruction="go",
            time=50 + self.tick / 10,
        )

    def step(self, action):
        now = 50 + self.tick / 10
        if self.log is not None:
            self.log.append(
                time=now + 0.02, wanted=action, sent=action / 2, image_time=now - 0.01, deadline=now
            )
        if self.tick == self.refuse_at:
            raise GateRefusal("latched")
        self.tick += 1
        return self.observe()

    def outcome(self):
        done = self.tick >= self.length
        return Outcome(success=done, ended=done)

    def close(self):
        self.closed += 1


class Counting:
    """Asks for 0.1, 0.2, ...; writes into one array over and over, as a careless driver may."""

    def reset(self, *, seed):
        self.action = np.zeros(1, np.float32)

    def __call__(self, observation):
        self.action += np.float32(0.1)
        return self.action


@pytest.fixture
def store(tmp_path):
    return open_recording(tmp_path / "store", BODY, provenance={"by": "test"})


@pytest.fixture
def log(tmp_path):
    log = FlightLog(tmp_path / "a.vlalog", embodiment=BODY, causes=("NONE",))
    yield log
    log.close()


def committed(store):
    """The trajectories that reach the store."""
    taken: list[Trajectory] = []
    append = store.append
    store.append = lambda trajectory: (taken.append(trajectory), append(trajectory))[1]
    return taken


def test_an_episode_with_a_log(store, log, tmp_path):
    taken = committed(store)
    world = Line(log=log)
    with EpisodeRecorder(world, store, log=log, source={"run": "r"}) as recorder:
        assert isinstance(recorder, World)
        figures = run_live(recorder, Counting(), seed=3, log=log)
    assert figures["success"]
    assert world.closed == 1
    episode = TrajectoryStore.open(tmp_path / "store").episode(0)
    np.testing.assert_array_equal(episode.state[:, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(episode.action[:, 0], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(episode.time, [0, 0.1, 0.2, 0.3])
    assert (episode.instruction, episode.success) == ("go", True)
    assert episode.source == {"run": "r", "seed": 3, "flight": "a.vlalog"}
    codec, front = build_codec("jpeg", BODY.cameras), store.read_payload
    assert [front("front", n) for n in range(4)] == [codec.encode(picture(n)) for n in range(4)]
    assert store.provenance == {"by": "test"}
    # A store of another version may not keep these two; they are always handed over.
    np.testing.assert_allclose(taken[0].sent, taken[0].action / 2)
    np.testing.assert_allclose(taken[0].captured["front"], taken[0].time - 0.03)


def test_several_episodes_of_one_world_and_log(store, log):
    with EpisodeRecorder(Line(log=log), store, log=log) as recorder:
        for seed in range(3):
            list(rollout(recorder, Counting(), seed=seed, max_steps=seed + 1))
            assert store.num_episodes == seed  # the last one is still open
    assert store.episode_ends.tolist() == [1, 3, 6]
    assert [record.source["seed"] for record in store.records] == [0, 1, 2]
    assert [record.success for record in store.records] == [False, False, False]


def test_without_log_or_judge(store):
    taken = committed(store)
    with EpisodeRecorder(Line(), store, judged=False) as recorder:
        list(rollout(UnendingWorld(recorder), Counting(), seed=0, max_steps=6))
    assert (taken[0].sent, taken[0].captured, taken[0].success) == (None, {}, None)
    np.testing.assert_allclose(taken[0].time, np.arange(6) / 10)


def test_success_is_the_worlds_even_when_the_run_goes_on(store):
    with EpisodeRecorder(Line(length=2), store) as recorder:
        list(rollout(UnendingWorld(recorder), Counting(), seed=0, max_steps=5))
    assert store.records[0].success is True
    assert store.num_frames == 5


def test_a_refused_tick_is_left_out_and_the_error_stays(store, log):
    recorder = EpisodeRecorder(Line(log=log, refuse_at=2), store, log=log)
    with pytest.raises(GateRefusal), recorder:
        run_live(recorder, Counting(), seed=0, log=log)
    assert store.num_frames == 2
    assert store.records[0].source["fault"] == "GateRefusal"
    assert len(read_flight(log.path).ticks) == 3


class Sick(Counting):
    def __call__(self, observation):
        return np.full(1, np.nan, np.float32)


def test_what_the_store_refuses_is_told(store):
    recorder = EpisodeRecorder(Line(), store)
    with pytest.raises(DataError, match="action axis 'x' is nan"), recorder:
        list(rollout(recorder, Sick(), seed=0))
    recorder = EpisodeRecorder(Line(refuse_at=1), store)
    with pytest.raises(GateRefusal) as caught, recorder:
        list(rollout(recorder, Sick(), seed=0))
    assert "could not be recorded" in caught.value.__notes__[0]
    assert store.num_episodes == 0


def test_nothing_flown_nothing_kept(store):
    with EpisodeRecorder(Line(), store) as recorder:
        recorder.reset(seed=0)
        recorder.close()
    assert store.num_episodes == 0
    with EpisodeRecorder(Line(), store) as recorder, pytest.raises(DataError, match="reset"):
        recorder.step(np.zeros(1, np.float32))


def test_a_log_that_is_not_the_worlds(store, log):
    recorder = EpisodeRecorder(Line(), store, log=log)
    with pytest.raises(DataError, match="0 records for the 4 ticks"), recorder:
        list(rollout(recorder, Counting(), seed=0))


def test_only_a_store_of_the_same_body_is_continued(store, tmp_path):
    path = store.path
    again = open_recording(path, BODY, provenance={"by": "another"})
    assert again.provenance == {"by": "test"}
    with pytest.raises(EmbodimentMismatch, match="hz"):
        open_recording(path, replace(BODY, hz=20), provenance={})
    wrist = {**BODY.cameras, "wrist": Camera(height=8, width=8)}
    for cameras in ({}, wrist):
        with pytest.raises(EmbodimentMismatch, match="camera"):
            open_recording(path, replace(BODY, cameras=cameras), provenance={})
    TrajectoryStore.create(tmp_path / "b", embodiment=BODY, provenance={}, codec="zstd")
    with pytest.raises(DataError, match="lossless"):
        open_recording(tmp_path / "b", BODY, provenance={})
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    row = np.zeros((1, 1), np.float32)
    labelled = Trajectory(images={"front": frames}, state=row, action=row, instruction="",
                          time=np.zeros(1), labels={"target": row})  # fmt: skip
    store.append(labelled)
    with pytest.raises(DataError, match="target"):
        open_recording(path, BODY, provenance={})


@pytest.mark.slow
def test_a_kill_loses_the_open_episode_only(tmp_path):
    code = (
        "import time; from tests.vla.runtime import test_episode_recorder as t\n"
        f"store = t.open_recording({str(tmp_path / 's')!r}, t.BODY, provenance={{}})\n"
        "recorder = t.EpisodeRecorder(t.Line(length=9), store)\n"
        "for seed in range(2): list(t.rollout(recorder, t.Counting(), seed=seed, max_steps=2))\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=os.getcwd())
    try:
        assert child.stdout.readline() == b"ready\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    store = open_recording(tmp_path / "s", BODY, provenance={})
    store.verify()
    assert [record.source["seed"] for record in store.records] == [0]


class Rightwards:
    """Creeps in x and closes the gripper."""

    def reset(self, *, seed):
        self.asked = []

    def __call__(self, observation):
        self.asked.append(np.array([0.002, 0, 0, 0.5], np.float32))
        time.sleep(0.001)
        return self.asked[-1]


def test_a_live_arm_in_its_own_process(tmp_path):
    """A simulated arm in wall-clock time through the gate: the store equals the flight log."""
    arm = SimArmConfig(start_timeout=60).build(PointFactory(str(tmp_path / "commands")))
    body, controller = arm.embodiment, Rightwards()
    log = FlightLog(tmp_path / "a.vlalog", embodiment=body, causes=CAUSES)
    box = {"workspace_low": [0.2, -0.3, 0.02], "workspace_high": [0.7, 0.3, 0.5]}
    world = RobotWorld(arm, arm, gate=GateConfig(**box).build(body), scene=arm, log=log)
    store = open_recording(tmp_path / "store", body, provenance={})
    taken = committed(store)
    with EpisodeRecorder(world, store, log=log) as recorder:
        figures = run_live(recorder, controller, seed=0, log=log, seconds=0.6)
    ticks, episode = read_flight(log.path).ticks, store.episode(0)
    assert len(episode) == len(ticks) == figures["ticks"] >= 8
    np.testing.assert_array_equal(episode.action, controller.asked)
    np.testing.assert_array_equal(episode.action, ticks["wanted"])
    np.testing.assert_array_equal(episode.state, ticks["state"])
    np.testing.assert_array_equal(taken[0].sent, ticks["sent"])
    np.testing.assert_allclose(episode.time, ticks["time"] - ticks["time"][0])
    assert episode.instruction == "go right"
    ages = taken[0].time[:, None] - np.stack(list(taken[0].captured.values()), axis=1)
    assert (ages >= 0).all()
