"""Control loops side by side: ours with its planning process, LeRobot's rollout with its thread.

    python -m benchmarks.control_loop [--seconds 120] [--hz 50 100] [--skip-lerobot]

LeRobot's genuine SO-101 driver on the emulated bus of the same arm, the same plans (50 rows,
80 ms of Python work each, made without pause), each loop in a fresh process. LeRobot's side is
its `BaseStrategy` with its `RTCInferenceEngine`. Punctuality is taken from the times at which
commands are given to the driver. Ours flies a second time without real-time priority. Then
faults: plans of NaN, a stall of 2 s, planning that dies. Ends with one JSON line.
"""

import argparse
import json
import logging
import math
import os
import platform
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.control_figures import describe_commands, describe_fault
from benchmarks.fault_arm import EmulatedArm
from benchmarks.fault_bench import Bench
from benchmarks.fault_plans import ROWS, Wave
from vla.runtime.config import AsyncControlConfig
from vla.runtime.faults import FaultConfig

FAULT_AT, FLIGHT, STALL = 2.0, 6.0, 2.0
FAULTS = {
    "nan": FaultConfig(nan_at=FAULT_AT),
    "stall": FaultConfig(stall_at=FAULT_AT, stall=STALL),
    "dies": FaultConfig(crash_at=FAULT_AT),
}
WORK = 0.08
SPEED = (math.pi / 2,) * 5 + (2.0,)
"""rad/s, strokes per second: what our gate grants this arm; more counts as too fast for both."""


def fly_ours(hz: float, seconds: float, fault: str, priority: int) -> dict:
    """One flight of our loop."""
    arm = EmulatedArm([f"robot.hz={hz:g}"])
    try:
        flown = Bench(arm=arm).fly(
            seconds,
            faults=FAULTS.get(fault),
            wave={"seconds": WORK},
            control=AsyncControlConfig(priority=priority),
        )
        result = {
            "scheduler": flown.told.get("scheduler"),
            "ended": flown.error or flown.reason,
            "torque_after": flown.torque,
            **describe_commands(flown.times, flown.commands, hz=hz, speed=SPEED),
        }
    finally:
        arm.end()
    if fault:
        at = flown.begin + FAULT_AT
        return result | describe_fault(flown.times, flown.commands, hz=hz, at=at)
    told = flown.told
    return result | {"starved": told["starved"], "loop_lateness_ms": told["lateness_ms"]}


class Noting:
    """LeRobot's robot; writes down what is sent when, in rad and parts of the stroke."""

    def __init__(self, robot):
        self._robot, self.times, self.commands = robot, [], []

    def __getattr__(self, name):
        return getattr(self._robot, name)

    def send_action(self, action):
        """LeRobot's."""
        values = [float(action[name]) for name in self._robot.action_features]
        self.times.append(time.monotonic())
        self.commands.append([*np.radians(values[:-1]), values[-1] / 100])
        return self._robot.send_action(action)


class Pipeline:
    """A processor pipeline without steps."""

    steps = ()

    def __call__(self, value):
        return value

    def reset(self):
        """Nothing to forget."""


class LerobotWave:
    """The same plans, called the way LeRobot calls its policies."""

    config = SimpleNamespace(use_amp=False)

    def __init__(self, body, fault):
        self.wave, self.fault, self.begin, self.stalled = Wave(body, WORK), fault, None, False

    def reset(self):
        """Nothing to forget."""

    def predict_action_chunk(self, batch, inference_delay=0, prev_chunk_left_over=None):
        """(1, ROWS, 6), degrees and percent."""
        import torch

        self.begin = self.begin or time.monotonic()
        due = time.monotonic() - self.begin >= FAULT_AT
        if due and self.fault == "dies":
            raise RuntimeError("planning died")
        if due and self.fault == "stall" and not self.stalled:
            self.stalled = True
            time.sleep(STALL)
        state = batch["observation.state"].reshape(1, -1).numpy()
        here = np.concatenate([np.radians(state[:, :-1]), state[:, -1:] / 100], axis=1)
        seen = SimpleNamespace(time=time.monotonic(), state=here)
        rows = self.wave.act([seen], seeds=[0])[0].actions
        rows = np.concatenate([np.degrees(rows[:, :-1]), rows[:, -1:] * 100], axis=1)
        if due and self.fault == "nan":
            rows = rows * np.nan
        return torch.from_numpy(rows.astype(np.float32))[None]


def fly_lerobot(hz: float, seconds: float, fault: str, priority: int) -> dict:
    """One flight of lerobot.rollout; it asks for no priority."""
    from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig
    from lerobot.rollout.configs import BaseStrategyConfig
    from lerobot.rollout.strategies.base import BaseStrategy

    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage()[:80])
    logging.getLogger("lerobot").addHandler(handler)
    arm = EmulatedArm([f"robot.hz={hz:g}"])
    try:
        folder = Path(arm.port).parent
        config = SO101FollowerConfig(port=arm.port, id="emulated", calibration_dir=folder)
        robot = Noting(SO101Follower(config))
        robot.connect(calibrate=False)
        policy, shutdown = LerobotWave(arm.embodiment, fault), threading.Event()
        context = make_context(robot, policy, shutdown, hz=hz, seconds=seconds)
        strategy = BaseStrategy(BaseStrategyConfig())
        strategy.setup(context)
        ended = "time"
        try:
            strategy.run(context)
        except ValueError as error:  # what the bus makes of NaN
            ended = f"{type(error).__name__}: {error}"
        strategy.teardown(context)
        torque = arm.torque
    finally:
        arm.end()
    result = {
        "ended": "shutdown" if shutdown.is_set() else ended,
        "torque_after": torque,
        "warnings": len(said),
        **describe_commands(robot.times, robot.commands, hz=hz, speed=SPEED),
    }
    if fault:
        at = policy.begin + FAULT_AT
        result |= describe_fault(robot.times, robot.commands, hz=hz, at=at)
    return result


def make_context(robot, policy, shutdown, *, hz: float, seconds: float) -> SimpleNamespace:
    """What LeRobot's strategy is given, as its own command line gives it."""
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.rollout.inference.rtc import RTCInferenceEngine
    from lerobot.rollout.robot_wrapper import ThreadSafeRobot

    safe, names = ThreadSafeRobot(robot), list(robot.action_features)
    features = {
        "observation.state": {"dtype": "float32", "shape": (len(names),), "names": names},
        "action": {"dtype": "float32", "shape": (len(names),), "names": names},
    }
    engine = RTCInferenceEngine(
        policy, Pipeline(), Pipeline(), safe, RTCConfig(), features, "wave", hz, "cpu",
        rtc_queue_threshold=ROWS, shutdown_event=shutdown,
    )  # fmt: skip
    options = SimpleNamespace(
        fps=hz, duration=seconds, interpolation_multiplier=1, use_torch_compile=False,
        display_data=False, return_to_initial_position=True,
    )  # fmt: skip
    return SimpleNamespace(
        runtime=SimpleNamespace(cfg=options, shutdown_event=shutdown),
        hardware=SimpleNamespace(robot_wrapper=safe, teleop=None, initial_position=None),
        policy=SimpleNamespace(inference=engine),
        processors=SimpleNamespace(
            robot_observation_processor=lambda value: value,
            robot_action_processor=lambda pair: pair[0],
        ),
        data=SimpleNamespace(dataset_features=features, ordered_action_keys=names),
    )


def run_side(side: str, hz: float, seconds: float, *, fault: str = "", priority: int = 50) -> dict:
    """One flight in a fresh process."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.control_loop",
        "--side",
        side,
        "--hz",
        str(hz),
        "--seconds",
        str(seconds),
        "--fault",
        fault,
        "--priority",
        str(priority),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Every loop at every rate, then every fault at the first rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--hz", type=float, nargs="+", default=[50.0, 100.0])
    parser.add_argument("--side", default="")
    parser.add_argument("--fault", default="")
    parser.add_argument("--priority", type=int, default=50)
    parser.add_argument("--skip-lerobot", action="store_true")
    options = parser.parse_args()
    if options.side:
        fly = {"ours": fly_ours, "lerobot": fly_lerobot}[options.side]
        told = fly(options.hz[0], options.seconds, options.fault, options.priority)
        sys.stdout.write(json.dumps(told) + "\n")
        return
    flights = [("ours", 50), ("ours", 0), ("lerobot", 0)][: 2 if options.skip_lerobot else 3]
    result = {
        "machine": platform.machine(), "cores": os.cpu_count(), "lerobot": version("lerobot"),
        "load_before": round(os.getloadavg()[0], 2),
    }  # fmt: skip
    for side, priority in flights:
        name = f"{side}_normal_priority" if side == "ours" and not priority else side
        for hz in options.hz:
            told = run_side(side, hz, options.seconds, priority=priority)
            result[f"{name}_{hz:g}hz"] = told
            sys.stderr.write(f"{name} {hz:g} Hz: {json.dumps(told)}\n")
        if name == side:
            for fault in FAULTS:
                told = run_side(side, options.hz[0], FLIGHT, fault=fault, priority=priority)
                result[f"{side}_{fault}"] = told
                sys.stderr.write(f"{side} {fault}: {json.dumps(told)}\n")
    result["load_after"] = round(os.getloadavg()[0], 2)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
