"""Processes that are ended with kill -9, and what must hold afterwards."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_arm import WiredArm
from benchmarks.fault_bench import Bench
from benchmarks.fault_judge import check_flight, first
from benchmarks.fault_plans import WaveOf, joints_of
from configs.serve_job import ServeJob
from configs.verbs import serve
from configs.verbs.run import await_operator
from envs.config import WorldConfig
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import CAUSES
from robot_drivers.config import RobotConfig
from robot_drivers.replay import motion_limits
from robot_drivers.robot_world import RobotWorld
from vla.embodiment import Embodiment
from vla.errors import RobotError
from vla.runtime.config import AsyncControlConfig
from vla.runtime.live import run_live
from vla.runtime.record import FlightLog, read_flight
from vla.runtime.rollout import Tick
from vla.runtime.states import State

SAG = 0.12
"""What gravity takes from the emulated arm, rad."""


def kill_controller(bench: Bench, *, wait: float) -> dict:
    """A controller with its planning process, on an arm that outlives it; `wait`: seconds."""
    arm, hz = bench.arm, bench.hz
    arm.renew()
    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    victim = start("fly", folder=str(folder), words=arm.words)
    try:
        victim.stdout.readline()
        time.sleep(wait)
    finally:
        end(victim)
    ticks = (flight := read_flight(folder / "flight.vlalog")).ticks
    assert len(ticks) > 0.3 * wait * hz, f"{len(ticks)} ticks"
    assert (np.diff(ticks["seq"].astype(int)) == 1).all(), "ticks are missing"
    joints = joints_of(flight.embodiment)
    step = np.abs(np.diff(ticks["gated"][:, joints], axis=0)).max(initial=0.0)
    assert step <= arm.config.gate.joint_speed / hz * 1.01, f"a step of {step:.4f} rad"
    time.sleep(0.4)
    settled = arm.look()[joints]
    off = float(np.abs(settled - ticks["gated"][-1][joints]).max())
    time.sleep(0.4)
    crept = float(np.abs(arm.look()[joints] - settled).max())
    assert arm.torque, "torque is off"
    assert crept < 0.01, f"moves on: {crept:.4f} rad"
    assert off < arm.config.gate.joint_speed / hz + SAG, f"{off:.4f} rad from the last command"
    refuse_to_begin()
    return {"ticks": len(ticks), "off_rad": round(off, 4), "crept_rad": round(crept, 5)}


def kill_planner(bench: Bench, *, wait: float) -> dict:
    """The planning process, `wait` seconds after the first second of a flight."""

    def strike(arm: WiredArm, gate: Any, controller: Any) -> None:
        os.kill(controller.planner_pid, signal.SIGKILL)

    flown = bench.fly(2.0 + wait, at=strike, delay=1.0 + wait)
    return _judge_hold(bench, flown)


def kill_server(bench: Bench, *, wait: float) -> dict:
    """A `vla serve` that the planning process asks."""
    bench.arm.renew()
    body = bench.arm.embodiment
    server = start("serve", body=body.to_json())
    try:
        url = re.search(r"at (ws://\S+)", server.stdout.readline().decode())[1]

        def strike(*_: Any) -> None:
            server.kill()

        flown = bench.fly(2.0 + wait, at=strike, delay=1.0 + wait, url=url)
    finally:
        end(server)
    return _judge_hold(bench, flown)


def _judge_hold(bench: Bench, flown: Any) -> dict:
    check_flight(flown)
    hold = first(flown, State.HOLD, after=flown.at)
    assert not flown.error, flown.error
    return {"hold_after_ms": bench.within("hold", hold, 0.25 + 4 / bench.hz)}


def refuse_to_begin() -> None:
    """A restart that nobody agrees to moves nothing."""
    try:
        await_operator(RobotConfig(), None)
    except RobotError:
        return
    raise AssertionError("a restart asked nobody")


def start(part: str, **facts: Any) -> subprocess.Popen:
    """A victim in a process group of its own; its first line says that it is ready."""
    command = [sys.executable, "-m", "benchmarks.fault_victims", part, json.dumps(facts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def end(victim: subprocess.Popen) -> None:
    """kill -9, and wait."""
    victim.kill()
    victim.wait()
    victim.stdout.close()


def fly(folder: str, words: list[str]) -> None:
    """Fly for a minute."""
    arm = WiredArm(words)
    gate = arm.config.gate.build(arm.embodiment)
    control = AsyncControlConfig()
    controller = control.open(WaveOf(arm.embodiment), arm.embodiment, limits=motion_limits(gate))
    log = FlightLog(Path(folder) / "flight.vlalog", embodiment=arm.embodiment, causes=CAUSES)
    world = RobotWorld(arm, NoCameras(), gate=gate, log=log, pilot=controller)

    def tell(tick: Tick) -> None:
        if tick.index == 0:  # before that there is nothing to kill
            sys.stdout.write("flying\n")
            sys.stdout.flush()

    run_live(
        world, controller, seed=0, log=log, seconds=60, priority=control.priority, progress=tell
    )


def answer(body: dict, port: int = 0) -> None:
    """Be a `vla serve` with a wave for a policy; its own log tells the address."""
    policy, weights = WaveOf(Embodiment.from_json(body), seconds=0.005)()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    job = ServeJob(checkpoint="wave", world=WorldConfig(), port=port)
    asyncio.run(serve.run(job, policy, weights))


if __name__ == "__main__":
    part, facts = sys.argv[1], json.loads(sys.argv[2])
    {"fly": fly, "serve": answer}[part](**facts)
