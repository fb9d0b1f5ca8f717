"""Control loops side by side: ours with its planning process, LeRobot's rollout with its thread.

    python benchmarks/control_loop.py [--seconds 120] [--hz 50 100] [--skip-lerobot]

The same emulated arm of six servos, the same plans (50 rows, 80 ms of Python work each, made
without pause), each loop in a fresh process. LeRobot's side is its genuine `BaseStrategy` with
its `RTCInferenceEngine`. Punctuality is taken from the times at which commands reached the arm.
Then faults: plans of NaN, a stall of 2 s, planning that dies. Ends with one JSON line.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.control_arm import JOINTS, ROWS, ServoArm, Wave, WaveFactory, after_fault, figures
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import GateConfig
from robot_drivers.replay import motion_limits
from robot_drivers.robot_world import RobotWorld
from vla.errors import RobotError
from vla.runtime.config import AsyncControlConfig
from vla.runtime.faults import FaultConfig
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog

FAULT_AT, FLIGHT, STALL = 2.0, 6.0, 2.0
FAULTS = {
    "nan": FaultConfig(nan_at=FAULT_AT),
    "stall": FaultConfig(stall_at=FAULT_AT, stall=STALL),
    "dies": FaultConfig(crash_at=FAULT_AT),
}


def fly_ours(hz: float, seconds: float, fault: str) -> dict:
    """One flight of our loop."""
    arm, config = ServoArm(hz), AsyncControlConfig()
    gate = GateConfig().build(arm.embodiment)
    factory = WaveFactory(hz)
    if fault:
        factory = FAULTS[fault].wrap(factory)
    controller = config.open(factory, arm.embodiment, limits=motion_limits(gate))
    log = FlightLog(
        Path(tempfile.mkdtemp()) / "flight.vlalog", embodiment=arm.embodiment, causes=CAUSES
    )
    world = RobotWorld(arm, NoCameras(), gate=gate, log=log, pilot=controller)
    first = []

    def note(tick):
        if not first and controller.chunk is not None:
            first.append(time.monotonic())

    ended = "time"
    try:
        flight = run_live(
            world, controller, seed=0, log=log, seconds=seconds, priority=config.priority,
            progress=note, brake=lambda: gate.latch(Cause.STOP),
        )  # fmt: skip
    except RobotError as error:
        ended, flight = type(error).__name__, {"scheduler": ""}
    finally:
        controller.close()
    result = {"scheduler": flight["scheduler"], "ended": ended, **figures(arm, hz)}
    if fault:
        result |= after_fault(arm, hz, first[0] + FAULT_AT)
        result["said"] = len(flight.get("changes", []))
    else:
        result["starved"] = flight["starved"]
        result["loop_lateness_ms"] = flight["lateness_ms"]
    return result


class LerobotArm:
    """The arm as LeRobot's robots look."""

    is_connected, name, robot_type, cameras = True, "servo", "servo", {}
    observation_features = action_features = {f"{name}.pos": float for name in JOINTS}  # noqa: RUF012

    def __init__(self, arm):
        self.arm = arm

    def get_observation(self):
        """Name to value."""
        state, _ = self.arm.read()
        return {f"{n}.pos": float(v) for n, v in zip(JOINTS, state, strict=True)}

    def send_action(self, action):
        """Name to value."""
        self.arm.write([action[f"{n}.pos"] for n in JOINTS])
        return action

    def disconnect(self):
        """LeRobot's teardown switches the torque off."""
        self.arm.torque = False


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

    def __init__(self, hz, fault):
        self.wave, self.fault, self.begin, self.stalled = Wave(hz), fault, None, False

    def reset(self):
        """Nothing to forget."""

    def predict_action_chunk(self, batch, inference_delay=0, prev_chunk_left_over=None):
        """(1, ROWS, 6)."""
        import torch

        self.begin = self.begin or time.monotonic()
        due = time.monotonic() - self.begin >= FAULT_AT
        if due and self.fault == "dies":
            raise RuntimeError("planning died")
        if due and self.fault == "stall" and not self.stalled:
            self.stalled = True
            time.sleep(STALL)
        (chunk,) = self.wave.act([SimpleNamespace(time=time.monotonic())], seeds=[0])
        rows = chunk.actions * (np.nan if due and self.fault == "nan" else 1)
        return torch.from_numpy(rows.astype(np.float32))[None]


def fly_lerobot(hz: float, seconds: float, fault: str) -> dict:
    """One flight of lerobot.rollout."""
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.rollout.configs import BaseStrategyConfig
    from lerobot.rollout.inference.rtc import RTCInferenceEngine
    from lerobot.rollout.robot_wrapper import ThreadSafeRobot
    from lerobot.rollout.strategies.base import BaseStrategy

    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage()[:80])
    logging.getLogger("lerobot").addHandler(handler)
    arm = ServoArm(hz)
    robot, policy, shutdown = (
        ThreadSafeRobot(LerobotArm(arm)),
        LerobotWave(hz, fault),
        threading.Event(),
    )
    names = [f"{name}.pos" for name in JOINTS]
    features = {
        "observation.state": {"dtype": "float32", "shape": (len(names),), "names": names},
        "action": {"dtype": "float32", "shape": (len(names),), "names": names},
    }
    engine = RTCInferenceEngine(
        policy, Pipeline(), Pipeline(), robot, RTCConfig(), features, "wave", hz, "cpu",
        rtc_queue_threshold=ROWS, shutdown_event=shutdown,
    )  # fmt: skip
    context = SimpleNamespace(
        runtime=SimpleNamespace(
            cfg=SimpleNamespace(
                fps=hz, duration=seconds, interpolation_multiplier=1, use_torch_compile=False,
                display_data=False, return_to_initial_position=True,
            ),
            shutdown_event=shutdown,
        ),
        hardware=SimpleNamespace(robot_wrapper=robot, teleop=None, initial_position=None),
        policy=SimpleNamespace(inference=engine),
        processors=SimpleNamespace(
            robot_observation_processor=lambda value: value,
            robot_action_processor=lambda pair: pair[0],
        ),
        data=SimpleNamespace(dataset_features=features, ordered_action_keys=names),
    )  # fmt: skip
    strategy = BaseStrategy(BaseStrategyConfig())
    strategy.setup(context)
    ended = "time"
    try:
        strategy.run(context)
    except ValueError as error:  # what the bus makes of NaN
        ended = f"{type(error).__name__}: {error}"
    torque_in_flight = arm.torque
    strategy.teardown(context)
    result = {
        "ended": "shutdown" if shutdown.is_set() else ended,
        "torque_after": arm.torque and torque_in_flight,
        "warnings": len(said),
        **figures(arm, hz),
    }
    if fault:
        result |= after_fault(arm, hz, policy.begin + FAULT_AT)
    return result


def run_side(side: str, hz: float, seconds: float, fault: str) -> dict:
    """One flight in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.control_loop", "--side", side, "--hz", str(hz),
               "--seconds", str(seconds), "--fault", fault]  # fmt: skip
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
    parser.add_argument("--skip-lerobot", action="store_true")
    options = parser.parse_args()
    if options.side:
        fly = {"ours": fly_ours, "lerobot": fly_lerobot}[options.side]
        sys.stdout.write(json.dumps(fly(options.hz[0], options.seconds, options.fault)) + "\n")
        return
    sides = ["ours"] if options.skip_lerobot else ["ours", "lerobot"]
    result = {"load_before": round(os.getloadavg()[0], 2), "cores": os.cpu_count()}
    for side in sides:
        for hz in options.hz:
            result[f"{side}_{hz:g}hz"] = run_side(side, hz, options.seconds, "")
        for fault in FAULTS:
            result[f"{side}_{fault}"] = run_side(side, options.hz[0], FLIGHT, fault)
    result["load_after"] = round(os.getloadavg()[0], 2)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
