"""A quantized policy drives the emulated SO-101 at 50 Hz on the CPU; the flight log is read.

    python -m benchmarks.live_quantized [--seconds 20] [--hz 50] [--output runs/live_quantized]

Everything but the arm is genuine: a scripted flight is recorded, a small policy is trained on
it, quantized to int8 through the gate (plans on held-out observations; a closed loop needs a
task, which this has none of, and the log says so), and flown by `vla run control=async` over
LeRobot's driver, the emulated Feetech bus (a serial line) and an emulated camera (a socket).
About two minutes on two idle cores. Prints one JSON line: what the log of the flight shows.
"""

import argparse
import contextlib
import json
import os
import platform
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np

from configs.launch import launch
from configs.run_job import RunJob
from configs.verbs.run import fly
from envs.config import TabletopConfig
from robot_drivers.camera_config import LerobotCameraConfig
from robot_drivers.config import GateConfig
from robot_drivers.config_lerobot import So101Config
from robot_drivers.emulators.servo_process import ServoEmulator
from robot_drivers.emulators.zmq_camera import ZmqCameraEmulator
from vla.data.store import TrajectoryStore
from vla.runtime.config import ControlConfig
from vla.runtime.flight_figures import summary
from vla.runtime.record import read_flight
from vla.types import ActionChunk

POSE = np.array([0.0, -0.5, 0.5, 0.3, 0.0, 0.5])
ROWS = 16
SIZE = 64


class Sway:
    """A scripted policy: all joints swing together, a quarter of a radian either way."""

    history = 1

    def __init__(self, embodiment):
        self.embodiment, self._begin = embodiment, None

    def act(self, observations, *, seeds):
        chunks = []
        for seen in observations:
            if self._begin is None:
                self._begin, self._from = seen.time, seen.state[-1].copy()
            due = seen.time - self._begin + np.arange(ROWS) / self.embodiment.hz
            swing = 0.25 * np.sin(2 * np.pi * due / 2.0)[:, None] * [1, 0.3, 0.3, 0.3, 0.5, 0.3]
            chunks.append(ActionChunk(actions=(self._from + swing).astype(np.float32),
                                      time=seen.time))  # fmt: skip
        return chunks


@contextlib.contextmanager
def emulated(folder, hz):
    """The arm, its camera, and the robot's configuration as an object and as words."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    camera = {"server_address": "127.0.0.1", "port": port, "camera_name": "front"}
    calm = {"max_age": 3.0, "max_missed": 1000, "lead": 2.0, "tracking": 2.0,
            "gripper_speed": 2.0}  # fmt: skip
    with (
        ServoEmulator("feetech", folder) as arm,
        ZmqCameraEmulator(port, size=(SIZE, SIZE)),
    ):
        arm.place(POSE)
        options = {"port": arm.port, "id": "emulated", "confirm": "none", "hz": hz,
                   "calibration_dir": str(arm.calibration.parent), "io_timeout": 0.2,
                   "losses": 10}  # fmt: skip
        robot = So101Config(
            **options,
            gate=GateConfig(joint_speed=1.5, **calm),
            cameras={"front": LerobotCameraConfig(type="zmq", height=SIZE, width=SIZE,
                                                  options=camera)},
        )  # fmt: skip
        told = {"type": "zmq", "height": SIZE, "width": SIZE, "fps": 30, "options": camera}
        words = [
            "robot=so101",
            *(f"robot.{key}={value}" for key, value in options.items()),
            f"robot.cameras={json.dumps({'front': told})}".replace('"', ""),
            *(f"robot.gate.{key}={value}" for key, value in calm.items()),
        ]
        yield robot, words


def record(robot, store, logs, seconds, episodes=4):
    """Scripted episodes in a store."""
    job = RunJob(
        checkpoint="none", robot=robot, seconds=seconds, until="time", instruction="sway",
        world=TabletopConfig(image_size=SIZE), output=str(logs), record=str(store),
    )  # fmt: skip
    body = robot.build().embodiment
    for number in range(episodes):
        controller = robot.steady(ControlConfig().build(Sway(body)))
        fly(job, controller, logs / f"scripted-{number}.vlalog", body=body, seed=number,
            facts={"job": {}, "weights_sha256": "scripted"})  # fmt: skip
    return TrajectoryStore.open(str(store))


def train(store, output, steps):
    launch("train", [
        f"data.path={store}", f"output={output}", "policy.backbone.channels=16",
        "policy.backbone.blocks=4", "policy.backbone.width=256", "policy/head=regression",
        f"policy.horizon={ROWS}", "data.held_out=0.25", f"training.steps={steps}",
        "training.batch_size=16", "training.warmup_steps=5", "training.validation_batches=2",
        f"training.eval_every={steps}", f"training.checkpoint_every={steps}", "device=cpu",
    ])  # fmt: skip


def fly_quantized(folder, *, hz=50.0, seconds=20.0, steps=200, recorded=6.0):
    """Record, train, quantize and fly below `folder`; what the flight's log shows."""
    folder = Path(folder)
    with emulated(folder, hz) as (robot, words):
        store = record(robot, folder / "store", folder, recorded)
        train(folder / "store", folder / "training", steps)
        launch("quantize", [
            f"checkpoint={folder}/training", f"store={folder}/store", "recipe=int8",
            "recipe.least=4096", "closed_loop=false", "held_out=0.25", "calibration=32",
            "judged=64", "device=cpu", f"output={folder}/int8",
        ])  # fmt: skip
        launch("run", [
            f"checkpoint={folder}/int8", *words, f"seconds={seconds}", "until=time",
            "instruction=sway", "control=async", f"output={folder}/flight", "device=cpu",
        ])  # fmt: skip
    flight = read_flight(folder / "flight" / "flight-000.vlalog")
    figures = summary(flight)
    facts = flight.header["facts"]
    told = facts["quantization"]
    swing = np.ptp(flight.ticks["state"][:, 0])
    return {
        "hz": hz,
        "body_hz": store.embodiment.hz,
        **{key: figures[key] for key in ("ticks", "seconds", "rate_hz", "lateness_ms", "missed",
                                         "plan_age_ms", "observation_age_ms", "starved",
                                         "states", "refusals", "plans")},
        "swing_rad": float(swing),
        "weights_sha256": facts["weights_sha256"],
        "recipe": told["recipe"]["kind"],
        "gate": {"passed": told["gate"]["passed"], "override": told["gate"]["override"],
                 "action_error_p99": told["gate"]["action_error"]["p99"],
                 "closed_loop": told["gate"]["closed_loop"]},
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hz", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", help="kept there; default: a temporary folder")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.output or stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder).mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):
            told = fly_quantized(
                folder, hz=arguments.hz, seconds=arguments.seconds, steps=arguments.steps
            )
    host = {"cores": os.cpu_count(), "load": os.getloadavg(), "system": platform.platform()}
    print(json.dumps({**told, "host": host}))


if __name__ == "__main__":
    main()
