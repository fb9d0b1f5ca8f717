"""kill -9 at random moments: of the controller, of its planning process, of a policy server.

    python -m benchmarks.kill_control [--kills 50] [--robot so101] [--hz 50] [--victims control]

After the controller is killed the log must be whole to its last tick, the arm under torque and
within a step of its last command; the arm stands still until somebody starts anew, and a restart
that nobody agrees to moves nothing. When the planning process or the server is killed the loop
must hold, and go on being logged. Ends with one JSON line; exit status 1 when something failed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import fault_matrix
from benchmarks.fault_arm import ARMS, EmulatedArm, joints_of
from configs.verbs.run import await_operator
from robot_drivers.config import RobotConfig
from vla.errors import RobotError
from vla.runtime.record import read_flight
from vla.runtime.states import State

SPREAD = 1.5
"""Seconds over which the kills are spread."""


def kill_controller(hz: float, wait: float) -> dict:
    """A controller with planning process on an arm that outlives it."""
    arm = EmulatedArm(hz)
    try:
        folder = Path(tempfile.mkdtemp(prefix="kill-"))
        command = [sys.executable, "-m", "benchmarks.kill_control", "--fly", str(folder), "--hz",
                   str(hz), "--port", arm.emulator.port]  # fmt: skip
        victim = subprocess.Popen(command, stdout=subprocess.PIPE)
        victim.stdout.readline()
        time.sleep(wait)
        victim.kill()
        victim.wait()
        victim.stdout.close()
        ticks = (flight := read_flight(folder / "flight.vlalog")).ticks
        assert (np.diff(ticks["seq"].astype(int)) == 1).all(), "ticks are missing"
        time.sleep(0.4)
        joints = joints_of(flight.embodiment)
        settled = arm.emulator.positions()[joints]
        off = float(np.abs(settled - ticks["gated"][-1][joints]).max()) if len(ticks) else 0.0
        time.sleep(0.4)
        crept = float(np.abs(arm.emulator.positions()[joints] - settled).max())
        assert arm.torque, "torque is off"
        assert crept < 0.01, f"moves on: {crept}"
        assert off < fault_matrix.GATE.joint_speed / hz + 0.12, off  # and what gravity takes
        try:
            await_operator(RobotConfig(), None)
        except RobotError:
            pass  # nobody is at this terminal: nothing may move
        else:
            raise AssertionError("a restart asked nobody")
        return {"ticks": len(ticks), "off_rad": round(off, 4), "crept_rad": round(crept, 5)}
    finally:
        arm.end()


def kill_planner(hz: float, wait: float) -> dict:
    """The planning process, `wait` seconds into the second second."""

    def strike(arm, gate, controller) -> None:
        os.kill(controller.planner_pid, signal.SIGKILL)

    fault_matrix.AT = 1.0 + wait
    flown = fault_matrix.fly(hz, 2.5 + wait, at=strike)
    fault_matrix.check_limits(flown)
    hold = flown.first(State.HOLD, after=flown.events["at"])
    assert hold is not None, "no hold"
    assert hold <= 0.25 + 10 / hz, hold
    assert flown.events["torque"]
    return {"hold_after_ms": round(hold * 1e3, 1)}


def fly_until_killed(folder: str, port: str, hz: float) -> None:
    """The victim of `kill_controller`: an arm that somebody else emulates."""
    arm = EmulatedArm.__new__(EmulatedArm)
    arm.attach(port, hz)
    fault_matrix.fly_for_ever(folder, arm)


VICTIMS = {"control": kill_controller, "planner": kill_planner}


def main() -> None:
    """Kill, look, sum up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--hz", type=float, default=50.0)
    parser.add_argument("--robot", choices=sorted(ARMS), default="so101")
    parser.add_argument("--victims", nargs="+", choices=sorted(VICTIMS), default=sorted(VICTIMS))
    parser.add_argument("--fly", default="")
    parser.add_argument("--port", default="")
    options = parser.parse_args()
    fault_matrix.ROBOT[0] = options.robot
    if options.fly:
        fly_until_killed(options.fly, options.port, options.hz)
        return
    moments, results = random.Random(0), {}
    for victim in options.victims:
        found, failed = [], []
        for number in range(options.kills):
            try:
                found.append(VICTIMS[victim](options.hz, moments.uniform(0.0, SPREAD)))
            except AssertionError as error:
                failed.append(f"{number}: {error}")
        worst = {key: max(entry[key] for entry in found) for key in (found[0] if found else {})}
        results[victim] = {"kills": options.kills, "failed": failed, "worst": worst}
        sys.stderr.write(f"{victim}: {json.dumps(results[victim])}\n")
    sys.stdout.write(json.dumps({"load": round(os.getloadavg()[0], 2), **results}) + "\n")
    raise SystemExit(any(entry["failed"] for entry in results.values()))


if __name__ == "__main__":
    main()
