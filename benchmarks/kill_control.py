"""kill -9 at random moments: of the controller, of its planning process, of a policy server.

    python -m benchmarks.kill_control [--kills 50] [--victims control planner server] [words]

After the controller is killed the log must be whole to its last tick, the arm under torque and
within a step of its last command; the arm stands still until somebody starts anew, and a restart
that nobody agrees to moves nothing. When the planning process or the server is killed the loop
must hold in time, and go on being logged. Words as for `vla run`; see `fault_matrix`. Ends with
one JSON line; exit status 1 when something failed.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fault_arm import EmulatedArm
from benchmarks.fault_bench import Bench
from benchmarks.fault_table import EMULATED, LOOSE
from benchmarks.fault_victims import kill_controller, kill_planner, kill_server
from vla.errors import VlaError
from vla.files import write_json

SPREAD = 1.5
"""Seconds over which the kills are spread."""
VICTIMS: dict[str, Callable[..., dict]] = {
    "control": kill_controller,
    "planner": kill_planner,
    "server": kill_server,
}


def kill_often(bench: Bench, victim: str, kills: int, moments: random.Random) -> dict:
    """Kill it so often; failures by number, and the worst of every figure."""
    found, failed, overran = [], [], []
    for number in range(kills):
        bench.overran = []
        wait = moments.uniform(0.0, SPREAD)
        try:
            found.append(VICTIMS[victim](bench, wait=wait))
        except (AssertionError, VlaError) as error:
            load = round(os.getloadavg()[0], 1)
            failed.append(f"{number} ({wait:.2f} s, load {load}): {error}")
        overran += [f"{number}: {said}" for said in bench.overran]
    worst = {key: max(entry[key] for entry in found) for key in (found[0] if found else {})}
    return {"kills": kills, "failed": failed, "overran": overran, "worst": worst}


def main() -> None:
    """Kill, look, sum up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--victims", nargs="+", choices=sorted(VICTIMS), default=list(VICTIMS))
    parser.add_argument("--loose", action="store_true")
    parser.add_argument("--output", type=Path)
    options, words = parser.parse_known_args()
    arm = EmulatedArm([*(LOOSE if options.loose else EMULATED), *words])
    bench = Bench(arm=arm, loose=options.loose)
    moments, results, begin = random.Random(0), {"hz": bench.hz}, time.monotonic()
    try:
        for victim in options.victims:
            results[victim] = kill_often(bench, victim, options.kills, moments)
            sys.stderr.write(f"{victim}: {json.dumps(results[victim])}\n")
            if options.output:
                write_json(options.output, results)
    finally:
        arm.end()
    results |= {"load": round(os.getloadavg()[0], 2), "seconds": round(time.monotonic() - begin)}
    sys.stdout.write(json.dumps(results) + "\n")
    raise SystemExit(any(results[victim]["failed"] for victim in options.victims))


if __name__ == "__main__":
    main()
