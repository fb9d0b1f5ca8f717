"""Rows of the fault matrix in which the arm, the machine or a person interferes."""

import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.fault_arm import NeedsHands
from benchmarks.fault_bench import Bench, Flown
from benchmarks.fault_judge import check_flight, first, last_state
from benchmarks.fault_victims import kill_controller, refuse_to_begin
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import Cause
from robot_drivers.robot_world import RobotWorld
from vla.errors import GateRefusal, RobotError
from vla.runtime.flight_figures import summary
from vla.runtime.states import State

ALARM_PERIOD = 0.25
"""Seconds between two looks at the servos' error bits; see `lerobot_arm`."""


def bus_drops_out(bench: Bench) -> dict:
    """Row 1: one lost exchange is bridged; three are a fault, which ends by an operator only."""
    short = bench.fly(2.0, at=lambda arm, *_: arm.fail_bus("silent", 0.5 / bench.hz))
    check_flight(short)
    assert not short.error, short.error
    result = {}
    for kind in ("silent", "corrupt", "drop", "unplugged"):
        flown = bench.fly(3.0, at=lambda arm, *_, k=kind: arm.fail_bus(k, 1.0))
        check_flight(flown)
        assert flown.error == "RobotError", (kind, flown.error)
        assert last_state(flown) is State.FAULT
        fault = first(flown, State.FAULT, after=flown.at)
        config = bench.arm.config
        allowed = (config.losses + 1) * (1 / bench.hz + config.io_timeout) + 0.01
        result[kind] = bench.within(f"{kind}: fault", fault, allowed)
        moved = _reconnect(bench)
        assert moved < 0.01, f"reconnecting moved the arm by {moved:.3f} rad"
    return result


def _reconnect(bench: Bench) -> float:
    """Open the arm again as a new flight does; how far it moved, rad. Asks nobody to fly."""
    time.sleep(1.2)  # the bus is back
    before = bench.arm.look()
    driver = bench.arm.config.build(None)
    driver.connect()
    try:
        driver.read()
    finally:
        driver.close()
    time.sleep(0.2)
    refuse_to_begin()
    return float(np.abs(bench.arm.look() - before).max())


def control_is_killed(bench: Bench) -> dict:
    """Row 7: the log is whole to the last tick; the arm is within a step of its last command."""
    return kill_controller(bench, wait=1.0)


def signals_come(bench: Bench) -> dict:
    """Row 8: SIGINT, SIGTERM, SIGHUP, and a second SIGINT, ramp to rest and end in order."""
    result = {}
    strikes = {"SIGINT": 1, "SIGTERM": 1, "SIGHUP": 1, "SIGINT twice": 2}
    for name, times in strikes.items():
        number = signal.Signals[name.split()[0]]

        def strike(*_, number=number, times=times):
            for _ in range(times):
                os.kill(os.getpid(), number)

        flown = bench.fly(3.0, at=strike)
        check_flight(flown)
        assert flown.reason == number.name, (name, flown.reason, flown.error)
        assert last_state(flown) is State.STOP
        ticks = flown.flight.ticks
        took = float(ticks["time"][-1] - ticks["time"][0]) - flown.at
        result[name] = bench.within(name, took, 0.15 + 3 / bench.hz)
    return result


def emergency_stop(bench: Bench) -> dict:
    """Row 9: a stop file, and an arm that stops by itself: no motion, latched."""
    path = tempfile.mktemp(prefix="stop-")
    flown = bench.fly(3.0, at=lambda *_: Path(path).touch(), stop_file=path)
    Path(path).unlink(missing_ok=True)
    ticks = flown.flight.ticks
    assert flown.error == "GateRefusal", flown.error
    assert last_state(flown) is State.ESTOP
    assert (ticks["gated"][-1] == ticks["gated"][-2]).all(), "a command after the stop"
    stop = first(flown, State.ESTOP, after=flown.at)
    result = {"stop_file": bench.within("stop file", stop, 2 / bench.hz)}
    _check_latched(bench, flown)
    try:
        flown = bench.fly(3.0, at=lambda arm, *_: arm.overload())
    except NeedsHands as error:
        return {**result, "overload": f"left out: {error}"}
    assert flown.error == "ArmStopped", flown.error
    assert last_state(flown) is State.FAULT
    told = first(flown, State.FAULT, after=flown.at)
    # a servo without torque is not asked oftener; the arm stands by itself long before
    result["overload"] = bench.within("overload", told, ALARM_PERIOD + 2 / bench.hz + 0.02)
    return result


def _check_latched(bench: Bench, flown: Flown) -> None:
    """Nothing begins on the same gate before somebody releases it."""
    world = RobotWorld(bench.arm, NoCameras(), gate=flown.judge)
    try:
        world.reset(seed=0)
    except GateRefusal:
        return
    raise AssertionError("the stop was not latched")


def start_is_wrong(bench: Bench) -> dict:
    """Row 10: outside its limits, uncalibrated, another arm, a bus in use: nothing is moved."""
    result = {}
    for name, prepare in {
        "outside": lambda arm: arm.stand_at(2.4),  # the emulated joints end at 1.92 and less
        "uncalibrated": lambda arm: arm.uncalibrate(),
    }.items():
        try:
            flown = bench.fly(1.0, prepare=prepare)
        except NeedsHands as error:
            result[name] = f"left out: {error}"
            continue
        assert flown.error == "RobotError", (name, flown.error)
        assert not flown.commands, f"{name}: it was moved"
        result[name] = "refused"
    bench.arm.renew()
    first_driver, second = bench.arm.config.build(None), bench.arm.config.build(None)
    first_driver.connect()
    try:
        second.connect()
    except RobotError as error:
        result["in use"] = str(error)
    else:
        raise AssertionError("two programs on one bus")
    finally:
        first_driver.close()
    return result


def starvation(bench: Bench) -> dict:
    """Row 12: busy cores, a loop that stands still, a full disk: slots are skipped and counted."""
    busy = "import time\nend = time.time() + 6\nwhile time.time() < end: pass"
    load = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2 * os.cpu_count())]
    flown = bench.fly(3.0, at=lambda *_: _require(not gc.isenabled(), "garbage is collected"))
    for process in load:
        process.kill()
        process.wait()
    check_flight(flown)
    _check_overrun(flown)
    stalled = bench.fly(3.0, at=lambda *_: _freeze(0.3))
    check_flight(stalled)
    _check_overrun(stalled)
    assert (stalled.flight.ticks["cause"] == Cause.OVERRUN).any(), "a gap of 0.3 s went unnoticed"
    full = bench.fly(6.0, at=_fill_disk, growth=int(2 * bench.hz))
    assert full.error == "DataError", full.error
    assert full.torque
    figures = summary(flown.flight)
    return {"missed": figures["missed"], "lateness_ms": figures["lateness_ms"],
            "ended": flown.error or flown.reason,
            "missed_in_gap": summary(stalled.flight)["missed"],
            "full_disk_ticks": len(full.flight.ticks)}  # fmt: skip


def soak(bench: Bench) -> dict:
    """Row 14: nothing grows, hardly a slot is missed (`benchmarks.soak` flies the long one)."""
    before, threads, files = _resident(), threading.active_count(), len(os.listdir("/proc/self/fd"))
    flown = bench.fly(bench.soak)
    figures, grown = summary(flown.flight), (_resident() - before) / 1e6
    assert not flown.error, flown.error
    # The log's pages and what is loaded once count too; a leak would go on.
    assert grown < 60 + 0.2 * bench.soak, f"{grown:.0f} MB more"
    assert threading.active_count() <= threads, "threads are left"
    assert len(os.listdir("/proc/self/fd")) <= files + 2, "files are left open"
    late = figures["lateness_ms"]["p999"] / 1e3
    missed = figures["missed"] / max(figures["ticks"], 1)
    assert missed < 1e-3 or bench.loose, f"{figures['missed']} slots missed"
    return {
        "ticks": figures["ticks"],
        "missed": figures["missed"],
        "late_p999_ms": bench.within("p99.9 lateness", late, 0.002),
        "lateness_ms": figures["lateness_ms"],
        "grown_mb": round(grown, 1),
    }


def _check_overrun(flown: Flown) -> None:
    ticks = flown.flight.ticks
    over = ticks["missed"] > flown.gate.max_missed
    assert (ticks["mode"][over] != State.RUN).all(), "moved on after a gap"


def _require(holds: bool, said: str) -> None:
    assert holds, said


def _freeze(seconds: float) -> None:
    """This process stands still for so long, as if the machine did nothing else."""
    script = f"kill -STOP {os.getpid()}; sleep {seconds}; kill -CONT {os.getpid()}"
    subprocess.Popen(["sh", "-c", script])  # nobody waits: it ends by itself


def _fill_disk(*_: object) -> None:
    """No file of this process grows any further."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
