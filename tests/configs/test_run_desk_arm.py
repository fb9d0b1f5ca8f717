"""An SO-101 from demonstration to flight: emulated servo bus and camera, everything else genuine.

A scripted flight is recorded, a tiny policy is trained on it, and flies with both controllers;
each flight is computed again from its log. Once by joints, once by tool steps.
"""

import json
import os
import socket

import numpy as np
import pytest

from configs.launch import launch
from configs.run_job import RunJob
from configs.verbs import run
from configs.verbs.run import fly
from envs.config import TabletopConfig
from robot_drivers.camera_config import LerobotCameraConfig
from robot_drivers.config import GateConfig
from robot_drivers.config_lerobot import So101Config
from robot_drivers.emulators.servo_process import ServoEmulator
from robot_drivers.emulators.zmq_camera import ZmqCameraEmulator
from robot_drivers.tool_config import ToolConfig
from vla.data.store import TrajectoryStore
from vla.errors import ArmStopped, RobotError
from vla.runtime.config import ControlConfig
from vla.runtime.record import read_flight
from vla.types import ActionChunk

pytest.importorskip("scservo_sdk", reason="needs vla-stack[feetech]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SIZE = 32
POSE = np.array([0.0, -0.5, 0.5, 0.3, 0.0, 0.5])
CALM = {"max_age": 3.0, "max_missed": 500, "lead": 2.0, "tracking": 2.0, "gripper_speed": 2.0}
"""A busy test machine: what is asserted here is what the parts say to each other, not timing."""


class Sway:
    """A scripted policy: every axis goes on by `step` from where it is planned, and back."""

    history = 1

    def __init__(self, embodiment, step):
        self.embodiment, self.step, self.goal = embodiment, step, None

    def act(self, observations, *, seeds):
        body = self.embodiment
        if body.action[0].mode == "delta":
            rows = np.zeros((8, len(body.action)), np.float32)
            rows[:, :6] = self.step
            rows[:, -1] = np.clip(observations[0].state[-1, -1] + abs(self.step) * 10, 0, 1)
        else:
            if self.goal is None:
                self.goal = observations[0].state[-1].copy()
            rows = np.repeat(self.goal[None], 8, axis=0)
            rows += self.step * np.arange(1, 9)[:, None] * [1, 0.3, 0.3, 0.3, 0.5, 0.3]
            self.goal = rows[-1]
            self.step = -self.step if abs(self.goal[0]) > 0.5 else self.step
        return [ActionChunk(actions=rows, time=o.time) for o in observations]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The emulated arm, its camera's port, and the folder of both."""
    folder = tmp_path_factory.mktemp("arm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        ServoEmulator("feetech", folder) as emulator,
        ZmqCameraEmulator(port, size=(SIZE, SIZE)),
    ):
        yield emulator, port


@pytest.fixture
def emulator(bench):
    arm, _ = bench
    arm.fail()
    arm.power_cycle()
    arm.calibrate()
    arm.place(POSE)
    return arm


def camera_options(port):
    return {"server_address": "127.0.0.1", "port": port, "camera_name": "front"}


def robot(bench, *, tool="", blind=False, **options):
    emulator, port = bench
    front = LerobotCameraConfig(type="zmq", height=SIZE, width=SIZE, options=camera_options(port))
    return So101Config(
        port=emulator.port, id="emulated", calibration_dir=str(emulator.calibration.parent),
        io_timeout=0.2, losses=10, confirm="none", hz=20.0, tool=ToolConfig(model=tool),
        gate=GateConfig(joint_speed=1.5, **CALM), cameras={} if blind else {"front": front},
        **options,
    )  # fmt: skip


def words(bench, tool):
    """The same robot as words of the command line."""
    emulator, port = bench
    camera = {"type": "zmq", "height": SIZE, "width": SIZE, "fps": 30,
              "options": camera_options(port)}  # fmt: skip
    text = json.dumps({"front": camera}).replace('"', "")
    return [
        "robot=so101", f"robot.port={emulator.port}", "robot.id=emulated", "robot.hz=20",
        f"robot.calibration_dir={emulator.calibration.parent}", "robot.confirm=none",
        "robot.io_timeout=0.2", "robot.losses=10", f"robot.tool.model={tool or chr(39) * 2}",
        f"robot.cameras={text}", *(f"robot.gate.{key}={value}" for key, value in CALM.items()),
    ]  # fmt: skip


def job(bench, tmp_path, *, tool="", **options):
    return RunJob(**{
        "checkpoint": "none", "robot": robot(bench, tool=tool), "seconds": 1.5, "until": "time",
        "world": TabletopConfig(image_size=SIZE), "instruction": "sway", "output": str(tmp_path),
        **options,
    })  # fmt: skip


def record(bench, tmp_path, tool):
    """Two scripted episodes in a store; its folder."""
    wanted = job(bench, tmp_path, tool=tool, record=str(tmp_path / "store"))
    body = wanted.robot.build().embodiment
    facts = {"job": {}, "weights_sha256": "abc"}
    for number in range(2):
        policy = Sway(body, step=0.002 if tool else 0.02)
        log = tmp_path / f"scripted-{number}.vlalog"
        figures = fly(
            wanted,
            wanted.robot.steady(ControlConfig().build(policy)),
            log,
            body=body,
            seed=number,
            facts=facts,
        )
        assert figures["reason"] == "time"
    return wanted.record


@pytest.mark.parametrize("tool", ["", "so101"], ids=["joints", "tool"])
def test_from_demonstration_to_flight_and_replay(bench, emulator, tool, tmp_path, capsys):
    store = record(bench, tmp_path, tool)
    assert TrajectoryStore.open(store).num_episodes == 2
    measured = read_flight(tmp_path / "scripted-0.vlalog").ticks["state"]
    axis = 5 if tool else 0  # x, or shoulder_pan
    assert np.ptp(measured[:, axis]) > (0.02 if tool else 0.1)
    launch("train", [
        f"data.path={store}", f"output={tmp_path}/training", "policy.backbone.channels=8",
        "policy.backbone.blocks=2", "policy.backbone.width=32", "policy.horizon=8",
        "policy/head=regression", "data.held_out=0.5", "training.steps=6",
        "training.batch_size=4", "training.warmup_steps=1", "training.validation_batches=1",
        "training.eval_every=6", "training.checkpoint_every=6", "device=cpu",
        # two short episodes do not move every axis of a tool
        *(["policy.bounded_axes=[dx,dy,dz,drx,dry,drz]"] if tool else []),
    ])  # fmt: skip
    for control in ("sync", "async"):
        output = tmp_path / control
        launch("run", [
            f"checkpoint={tmp_path}/training", *words(bench, tool), "seconds=2", "until=time",
            "instruction=sway", f"control={control}", f"output={output}", "device=cpu",
            f"record={tmp_path}/flown-{control}",
        ])  # fmt: skip
        ticks = read_flight(output / "flight-000.vlalog").ticks
        assert len(ticks) > 5
        assert ticks["frame"][:, 0].max() > ticks["frame"][0, 0]
        assert np.isfinite(ticks["age"]).all()
        sent = ticks["gated"]
        if not tool:
            speed = np.abs(np.diff(sent[:, :5], axis=0)) * 20
            assert speed.max() <= np.pi / 2 * 1.01
            assert np.abs(np.diff(sent[:, 5])).max() * 20 <= 2.0 * 1.01
        assert all(emulator.torque())
        capsys.readouterr()
        launch("replay", [f"log={output}/flight-000.vlalog"])
        assert "every command and verdict is the same" in " ".join(capsys.readouterr().out.split())
        assert TrajectoryStore.open(f"{tmp_path}/flown-{control}").num_episodes == 1


def test_an_overloaded_servo_ends_the_flight_with_its_name(bench, emulator, tmp_path):
    wanted = job(bench, tmp_path, robot=robot(bench, blind=True))
    body = wanted.robot.build().embodiment
    policy = Sway(body, step=0.02)
    plan = policy.act

    def act(observations, *, seeds):
        if policy.goal is not None:
            emulator.fail(overload=[2])
        return plan(observations, seeds=seeds)

    policy.act = act
    with pytest.raises(ArmStopped, match="shoulder_lift: overload"):
        fly(
            wanted, wanted.robot.steady(ControlConfig().build(policy)), tmp_path / "f.vlalog",
            body=body, seed=0,
            facts={"job": {}, "weights_sha256": "abc"},
        )  # fmt: skip
    assert read_flight(tmp_path / "f.vlalog").ticks["latched"][-1]


def test_an_arm_outside_its_limits_comes_in_when_told_to(bench, emulator, tmp_path, monkeypatch):
    outside = POSE.copy()
    outside[0] = 1.91  # the joint ends at 1.92, the gate keeps 0.02 from that
    emulator.place(outside)
    facts = {"job": {}, "weights_sha256": "abc"}

    def attempt(name, **options):
        wanted = job(bench, tmp_path, seconds=0.3, robot=robot(bench, blind=True, **options))
        body = wanted.robot.build().embodiment
        controller = wanted.robot.steady(ControlConfig().build(Sway(body, step=0.0)))
        fly(wanted, controller, tmp_path / name, body=body, seed=0, facts=facts)

    with pytest.raises(RobotError, match=r"shoulder_pan is 1.91. rad, outside"):
        attempt("refused.vlalog")
    with pytest.raises(RobotError, match=r"robot.creep is 0.001"):
        attempt("far.vlalog", creep=0.001)
    asked = []
    monkeypatch.setattr(run, "await_operator", lambda *_: asked.append(True))
    attempt("crept.vlalog", creep=0.1)
    assert asked
    sent = read_flight(tmp_path / "crept.vlalog").ticks["gated"][:, 0]
    assert (np.diff(sent) <= 2e-3).all()  # inwards, but for a servo's step where it settles
    assert sent[0] > 1.89
    assert sent[-1] < 1.90
    assert emulator.positions()[0] < 1.905
    assert os.path.exists(emulator.port)
