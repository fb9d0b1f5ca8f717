"""The rows of the fault matrix by number, and the command line of `benchmarks.fault_matrix`."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

from rich.console import Console

from benchmarks import fault_rows_arm as arms
from benchmarks import fault_rows_plans as plans
from benchmarks.fault_arm import EmulatedArm, WiredArm
from benchmarks.fault_bench import Bench
from configs.verbs.run import await_operator
from vla.errors import VlaError

ROWS: dict[int, Callable[[Bench], dict]] = {
    1: arms.bus_drops_out,
    2: plans.plans_go_bad,
    3: plans.plans_jump,
    4: plans.planning_stops,
    5: plans.cameras_break,
    6: plans.network_is_bad,
    7: arms.control_is_killed,
    8: arms.signals_come,
    9: arms.emergency_stop,
    10: arms.start_is_wrong,
    11: plans.arm_is_blocked,
    12: arms.starvation,
    13: plans.torn_write,
    14: arms.soak,
    15: plans.replay,
}
EMULATED = ("robot.hz=50", "robot.io_timeout=0.012")
"""A pseudo-terminal waits for the kernel; an adapter of its own is quicker."""
LOOSE = ("robot.hz=20", "robot.io_timeout=0.2", "robot.gate.max_age=1.0", "robot.losses=20")
"""For machines that have other work to do."""


def fly_row(bench: Bench, number: int) -> dict:
    """One row: what it found, or "failed"; the load and the seconds it took beside that."""
    begin, load, row = time.monotonic(), round(os.getloadavg()[0], 1), ROWS[number]
    bench.overran = []
    try:
        found = row(bench)
    except (AssertionError, OSError, VlaError) as error:
        found = {"failed": f"{type(error).__name__}: {error}"}
    if bench.overran:
        found["overran"] = bench.overran
    return {"row": row.__name__, **found, "load": load, "took_s": round(time.monotonic() - begin)}


def fly_all(bench: Bench, rows: list[int]) -> tuple[dict, list[int]]:
    """Every row, a failed one twice; results by row, and the rows that failed twice."""
    results, failed = {}, []
    for number in rows:
        result = fly_row(bench, number)
        if "failed" in result:
            result = {**fly_row(bench, number), "first_try": result}
            failed += [number] if "failed" in result else []
        results[number] = result
        sys.stderr.write(f"{number}: {json.dumps(result)}\n")
    return results, failed


def main() -> None:
    """Fly the rows, print what each found."""
    parser = argparse.ArgumentParser(prog="benchmarks.fault_matrix")
    parser.add_argument("--rows", type=int, nargs="+", choices=sorted(ROWS), default=sorted(ROWS))
    parser.add_argument("--soak", type=float, default=60.0)
    parser.add_argument("--loose", action="store_true")
    options, words = parser.parse_known_args()
    real = any(word.startswith("robot=") for word in words)
    defaults = LOOSE if options.loose else EMULATED
    arm = WiredArm(words) if real else EmulatedArm([*defaults, *words])
    bench = Bench(arm=arm, loose=options.loose, soak=options.soak)
    try:
        await_operator(arm.config, Console(stderr=True))
        results, failed = fly_all(bench, options.rows)
    finally:
        arm.end()
    told = {"robot": arm.embodiment.name, "words": arm.words, "hz": bench.hz, "failed": failed}
    sys.stdout.write(json.dumps({**told, "rows": results}) + "\n")
    raise SystemExit(1 if failed else 0)
