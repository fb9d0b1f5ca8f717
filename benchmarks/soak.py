"""A long flight at full rate: whether memory, open files or threads grow anywhere, and the timing.

    python -m benchmarks.soak [--seconds 1800] [robot.losses=20 ...]

Everything at once: camera process, control loop, planning process that asks a `vla serve` in a
process of its own, LeRobot's SO-101 driver on an emulated bus. Every process is looked at from
outside, twice a second at most. Ends with one JSON line; exit status 1 when something grew.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.fault_arm import EmulatedArm, WiredArm
from benchmarks.fault_bench import Bench
from benchmarks.fault_plans import FaultyCamera, with_camera
from benchmarks.fault_victims import end, start
from vla.errors import VlaError
from vla.runtime.flight_figures import summary

WORDS = ("robot.hz=100", "robot.io_timeout=0.012", "robot.gate.hold_limit=3600",
         "robot.gate.latch_after=1000000")  # fmt: skip
ALLOWED = {"memory_mb": 8.0, "files": 1.0, "threads": 0.5}
"""Growth from the second to the last quarter of a soak that counts as a leak."""


def family(root: int) -> list[int]:
    """`root` and all its descendants, in the order of their starts."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it has just ended
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for pid in sorted(parents):
        if parents[pid] in found:
            found.append(pid)
    return found


def look(pid: int) -> dict[str, float] | None:
    """Private and shared memory in MB (files in memory do not count), open files, threads."""
    try:
        status = (Path("/proc") / str(pid) / "status").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    numbers = {key: int(re.search(rf"{key}:\s+(\d+)", status)[1])
               for key in ("RssAnon", "RssShmem", "Threads")}  # fmt: skip
    memory = (numbers["RssAnon"] + numbers["RssShmem"]) / 1024
    return {"memory_mb": memory, "files": files, "threads": numbers["Threads"]}


def growth(samples: list[tuple[float, dict]]) -> dict[str, float]:
    """By figure: mean of the last quarter minus mean of the second; and MB per hour by a line."""
    times = np.array([when for when, _ in samples])
    quarter = (times - times[0]) / max(times[-1] - times[0], 1e-9)
    result = {}
    for name in ALLOWED:
        values = np.array([sample[name] for _, sample in samples], float)
        early, late = values[(quarter >= 0.25) & (quarter < 0.5)], values[quarter >= 0.75]
        result[name] = round(float(late.mean() - early.mean()), 3)
    settled = quarter >= 0.25
    memory = np.array([sample["memory_mb"] for _, sample in samples])
    slope = np.polyfit(times[settled], memory[settled], 1)[0] * 3600
    return {**result, "memory_mb_per_hour": round(float(slope), 2),
            "memory_mb_at_the_end": round(float(memory[-1]), 1)}  # fmt: skip


def watch(flight: subprocess.Popen, others: dict[str, int], seconds: float) -> dict[str, list]:
    """Samples of `flight`, of `others` (names and pids) and of their children, until it ends."""
    samples: dict[str, list] = {}
    pause = max(0.5, seconds / 600)
    while flight.poll() is None:
        now = time.monotonic()
        for name, root in {"control": flight.pid, **others}.items():
            for index, pid in enumerate(family(root)):
                if (seen := look(pid)) is not None:
                    label = f"{name}.{index} ({pid})" if index else name
                    samples.setdefault(label, []).append((now, seen))
        time.sleep(pause)
    return samples


def fly(seconds: float, url: str, words: list[str]) -> None:
    """The flight; its figures go to the standard output."""
    arm = WiredArm(words)
    arm.noted = 1000  # what is kept of every command would look like a leak
    flown = Bench(arm=arm).fly(seconds, url=url, camera=FaultyCamera())
    figures = summary(flown.flight)
    kept = ("ticks", "seconds", "rate_hz", "missed", "lateness_ms", "io_ms", "states", "refusals")
    told = {key: figures[key] for key in kept}
    told |= {"plans": figures["plans"], "ended": flown.error or flown.reason,
             "changes": len(figures["changes"]), "refused": flown.refused}  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")


def main() -> None:
    """Serve, fly, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--fly", default="")
    options, words = parser.parse_known_args()
    if options.fly:
        fly(options.seconds, options.fly, words)
        return
    load, arm = [round(os.getloadavg()[0], 1)], EmulatedArm([*WORDS, *words])
    server = start("serve", body=with_camera(arm.embodiment).to_json())
    try:
        url = re.search(r"at (ws://\S+)", server.stdout.readline().decode())[1]
        command = [sys.executable, "-m", "benchmarks.soak", "--fly", url,
                   "--seconds", str(options.seconds), *arm.words]  # fmt: skip
        flight = subprocess.Popen(command, stdout=subprocess.PIPE)
        others = {"server": server.pid, "emulator": arm.emulator.pid}
        samples = watch(flight, others, options.seconds)
        ended = time.monotonic()
        figures = json.loads(flight.communicate()[0] or b"{}")
    finally:
        end(server)
        arm.end()
    if not figures:
        raise VlaError("The flight ended without figures; its message is above.")
    flown = {  # without the start, in which libraries are loaded
        name: [(when, seen) for when, seen in kept if when > ended - 0.9 * options.seconds]
        for name, kept in samples.items()
    }
    enough = {name: kept for name, kept in flown.items() if len(kept) >= 20}
    grown = {name: growth(kept) for name, kept in enough.items()}
    leaks = [f"{name}: {key} +{entry[key]}" for name, entry in grown.items()
             for key, most in ALLOWED.items() if entry[key] > most]  # fmt: skip
    load.append(round(os.getloadavg()[0], 1))
    result = {"leaks": leaks, "flight": figures, "growth": grown, "load": load}
    sys.stdout.write(json.dumps(result) + "\n")
    raise SystemExit(bool(leaks) or figures["ended"] != "time")


if __name__ == "__main__":
    main()
