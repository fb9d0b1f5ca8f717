"""Every fault that the design names, injected into a flight; what must hold is asserted.

    python benchmarks/fault_matrix.py [--rows 2 3 ...] [--hz 100] [--soak 60]

Each row flies the emulated arm of `control_arm` with the whole loop: planning process, gate,
flight log. States and limits are asserted, latencies are recorded. Rows that need a bus or a
network are listed as not run. Ends with one JSON line; exit status 1 when a row fails.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.control_arm import ServoArm, WaveFactory
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import GateConfig, RobotConfig
from robot_drivers.limits import TOLERANCE
from robot_drivers.link import BridgedRobot
from robot_drivers.replay import motion_limits, replay_flight
from robot_drivers.robot_world import RobotWorld
from robot_drivers.stops import StopFile
from vla.errors import GateRefusal, RobotError
from vla.runtime.config import AsyncControlConfig
from vla.runtime.faults import FaultConfig
from vla.runtime.flight_figures import changes, summary
from vla.runtime.live import run_live
from vla.runtime.plan_log import plan_path, read_plans
from vla.runtime.record import Flight, FlightLog, read_flight
from vla.runtime.states import State

AT = 1.0  # seconds after the first tick at which the loop's own faults begin
GATE = GateConfig(hold_limit=30.0)
NOT_RUN = {
    5: "needs cameras: see tests/robot_drivers/test_robot_world.py (a frozen sensor)",
    6: "needs a network: see tests/vla/serving",
}


@dataclass
class Flown:
    """A flight and what is needed to judge it."""

    flight: Flight
    path: Path
    arm: ServoArm
    control: AsyncControlConfig
    begin: float
    error: str = ""
    events: dict = field(default_factory=dict)

    def first(self, state: State, after: float = 0.0) -> float | None:
        """Seconds from `after` (of flight time) to the first tick in `state`."""
        ticks = self.flight.ticks
        since = ticks["time"] - ticks["time"][0]
        hits = since[(ticks["mode"] == state) & (since >= after)]
        return float(hits[0] - after) if len(hits) else None

    def rest(self, after: float) -> float | None:
        """Seconds from `after` to the first of three commands without motion."""
        ticks = self.flight.ticks
        since = (ticks["time"] - ticks["time"][0])[1:]
        still = (np.abs(np.diff(ticks["gated"], axis=0)) < 1e-6).all(axis=1)
        row = still & np.roll(still, -1) & np.roll(still, -2) & (since >= after)
        return float(since[row][0] - after) if row.any() else None


def fly(
    hz: float,
    seconds: float,
    *,
    faults: FaultConfig | None = None,
    at: Callable[[ServoArm, object, object], None] | None = None,
    gate: GateConfig = GATE,
    control: AsyncControlConfig | None = None,
    stop_file: str = "",
    place: float = 0.0,
) -> Flown:
    """One flight; `at(arm, gate, controller)` is called once, `AT` seconds after its begin."""
    arm, control = ServoArm(hz), control or AsyncControlConfig(hang=1.0)
    arm._place[:] = place
    arm._goal[:] = place
    judge = gate.build(arm.embodiment)
    factory = (faults or FaultConfig()).wrap(WaveFactory(hz, 0.03))
    limits = motion_limits(judge)
    controller = control.open(factory, arm.embodiment, limits=limits)
    path = Path(tempfile.mkdtemp(prefix="fault-")) / "flight.vlalog"
    log = FlightLog(path, embodiment=arm.embodiment, causes=CAUSES)
    robot = BridgedRobot(arm, losses=RobotConfig().losses)
    stops = [StopFile(stop_file)] if stop_file else []
    world = RobotWorld(robot, NoCameras(), gate=judge, log=log, pilot=controller, stops=stops)
    flown = Flown(None, path, arm, control, 0.0)

    def watch(tick):
        flown.begin = flown.begin or time.monotonic()
        if at is not None and "at" not in flown.events and tick.index >= AT * hz:
            flown.events["at"] = time.monotonic() - flown.begin
            at(arm, judge, controller)

    try:
        flown.events["reason"] = run_live(
            world, controller, seed=0, log=log, seconds=seconds, progress=watch,
            brake=lambda: judge.latch(Cause.STOP), priority=control.priority,
        )["reason"]  # fmt: skip
    except (RobotError, GateRefusal) as error:
        flown.error = type(error).__name__
    finally:
        flown.events["refused"] = controller.refused
        controller.close()
    flown.flight = read_flight(path)
    return flown


def check_limits(flown: Flown) -> None:
    """Speed and acceleration of every command that was sent, whatever happened."""
    ticks, hz = flown.flight.ticks, flown.flight.embodiment.hz
    sent = ticks["gated"][:, :6].astype(np.float64)
    assert np.isfinite(sent).all(), "a command was not finite"
    speed = np.diff(sent, axis=0) * hz
    assert (np.abs(speed) <= GATE.joint_speed * (1 + 2 * TOLERANCE)).all(), "too fast"
    change = np.abs(np.diff(speed, axis=0)) * hz
    gentle = ~ticks["abrupt"][2:]
    assert (change[gentle] <= GATE.joint_acceleration * (1 + 5 * TOLERANCE)).all(), "too sudden"


def check_replay(flown: Flown) -> None:
    """The log gives the same commands again."""
    result = replay_flight(
        flown.flight,
        read_plans(plan_path(flown.path)),
        control=flown.control,
        gate=GATE.build(flown.flight.embodiment),
        policy_body=flown.flight.embodiment,
    )
    assert result.identical, f"replay differs: {result}"


def bus_drops_out(hz: float) -> dict:
    """Row 1: two lost exchanges are bridged, a silent bus is a fault."""
    short = fly(hz, 2.0, at=lambda arm, *_: _silence(arm, 1.5 / hz))
    assert not short.error, short.error
    check_limits(short)
    long = fly(hz, 3.0, at=lambda arm, *_: _silence(arm, 1.0))
    assert long.error == "RobotError", long.error
    assert State(long.flight.ticks["mode"][-1]) is State.FAULT
    after = len(long.flight.ticks) / hz - long.events["at"]
    return {"fault_after_ms": round(after * 1e3, 1)}


def _silence(arm: ServoArm, seconds: float) -> None:
    arm.silent_until = time.monotonic() + seconds


def plans_go_bad(hz: float) -> dict:
    """Row 2: plans of NaN never reach the arm, and sustained ones lead to a hold."""
    flown = fly(hz, 3.0, faults=FaultConfig(nan_at=AT))
    assert np.isfinite(np.array(flown.arm.commands)).all(), "NaN reached the arm"
    check_limits(flown)
    hold = flown.first(State.HOLD, after=0.8)
    assert hold is not None, "no hold"
    assert flown.events["refused"]["not_finite"] > 3
    return {"hold_after_ms": _ms(hold + 0.8 - AT)}


def plans_jump(hz: float) -> dict:
    """Row 3: plans far outside are refused; a seam inside the bounds is taken within limits."""
    far = fly(hz, 3.0, faults=FaultConfig(jump_at=AT, jump=5.0))
    check_limits(far)
    assert far.events["refused"]["bounds"] > 3
    near = fly(hz, 3.0, faults=FaultConfig(jump_at=AT, jump=0.2))
    check_limits(near)
    return {"far": summary(far.flight)["states"], "near": summary(near.flight)["states"]}


def planning_stops(hz: float) -> dict:
    """Row 4: SIGSTOP, ten times slower, kill -9: hold within 250 ms + ramp, ticks on time."""
    result = {}
    for name, strike in {"stopped": signal.SIGSTOP, "killed": signal.SIGKILL}.items():
        flown = fly(hz, 4.0, at=lambda a, g, c, s=strike: os.kill(c.planner_pid, s))
        check_limits(flown)
        check_replay(flown)
        at = flown.events["at"]
        hold, rest = flown.first(State.HOLD, after=at), flown.rest(at)
        assert hold is not None, f"{name}: no hold"
        assert hold <= 0.25 + 5 / hz, f"{name}: hold after {hold:.3f} s"
        assert rest is not None, f"{name}: no rest"
        resumed = flown.first(State.RUN, after=at + hold + 0.05)
        result[name] = {
            "hold_after_ms": _ms(hold),
            "at_rest_after_ms": _ms(rest),
            "runs_again_after_ms": _ms(resumed + hold + 0.05) if resumed is not None else None,
            "late_p99_ms": round(summary(flown.flight)["lateness_ms"]["p99"], 3),
        }
    slow = fly(hz, 3.0, faults=FaultConfig(slow_at=AT, slow=0.3))
    check_limits(slow)
    assert slow.first(State.HOLD, after=0.8) is not None, "slow plans: no hold"
    result["slow"] = summary(slow.flight)["states"]
    return result


def control_is_killed(hz: float) -> dict:
    """Row 7: the log is whole to the last tick; the last command is one step away."""
    folder = tempfile.mkdtemp(prefix="fault-")
    command = [sys.executable, "-m", "benchmarks.fault_matrix", "--victim", folder, "--hz", str(hz)]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE)
    victim.stdout.readline()
    time.sleep(1.0)
    victim.kill()
    victim.wait()
    victim.stdout.close()
    flight = read_flight(Path(folder) / "flight.vlalog")
    assert len(flight.ticks) > 0.5 * hz, len(flight.ticks)
    step = np.abs(np.diff(flight.ticks["gated"][:, :6], axis=0)).max()
    assert step <= GATE.joint_speed / hz * (1 + 2 * TOLERANCE)
    return {"ticks": len(flight.ticks), "largest_step_rad": round(float(step), 5)}


def be_victim(folder: str, hz: float) -> None:
    """A flight for `control_is_killed`."""
    arm = ServoArm(hz)
    judge = GATE.build(arm.embodiment)
    control = AsyncControlConfig()
    controller = control.open(WaveFactory(hz), arm.embodiment, limits=motion_limits(judge))
    log = FlightLog(Path(folder) / "flight.vlalog", embodiment=arm.embodiment, causes=CAUSES)
    world = RobotWorld(arm, NoCameras(), gate=judge, log=log, pilot=controller)
    sys.stdout.write("flying\n")
    sys.stdout.flush()
    run_live(world, controller, seed=0, log=log, seconds=60, priority=control.priority)


def signals_come(hz: float) -> dict:
    """Row 8: SIGINT, SIGTERM, SIGHUP ramp to rest, latch STOP, and end the flight in order."""
    result = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        flown = fly(hz, 3.0, at=lambda *_, n=number: os.kill(os.getpid(), n))
        check_limits(flown)
        assert flown.events["reason"] == number.name
        assert State(flown.flight.ticks["mode"][-1]) is State.STOP
        assert flown.arm.torque
        took = len(flown.flight.ticks) / hz - flown.events["at"]
        assert took <= 0.15 + 3 / hz, took
        result[number.name] = _ms(took)
    return result


def emergency_stop(hz: float) -> dict:
    """Row 9: a stop file: no motion within two ticks, latched."""
    path = tempfile.mktemp(prefix="stop-")
    flown = fly(hz, 3.0, at=lambda *_: Path(path).touch(), stop_file=path)
    os.unlink(path)
    ticks = flown.flight.ticks
    assert flown.error == "GateRefusal", flown.error
    assert State(ticks["mode"][-1]) is State.ESTOP
    assert (ticks["gated"][-1] == ticks["gated"][-2]).all()
    return {"ticks": round(len(ticks) - flown.events["at"] * hz)}


def start_outside(hz: float) -> dict:
    """Row 10: an arm outside its limits is not moved."""
    flown = fly(hz, 1.0, place=2.4)
    assert flown.error == "RobotError", flown.error
    assert not flown.arm.commands
    return {}


def arm_is_blocked(hz: float) -> dict:
    """Row 11: commands never lead a joint that does not follow by more than `tracking`.

    This policy plans from where the arm stands, so a hold need not come; the gate's own check
    has its test in tests/robot_drivers/test_flight_rules.py.
    """

    def pin(arm, *_):
        arm.pinned = True

    flown = fly(hz, 3.0, at=pin)
    check_limits(flown)
    lead = np.abs(flown.flight.ticks["gated"] - flown.flight.ticks["state"])[:, :6].max()
    assert lead <= GATE.tracking + GATE.joint_speed / hz + 0.01, lead
    hold = flown.first(State.HOLD, after=flown.events["at"])
    held = None if hold is None else _ms(hold)
    return {"hold_after_ms": held, "largest_lead_rad": round(float(lead), 3)}


def starvation(hz: float) -> dict:
    """Row 12: every core busy in Python: slots are skipped and counted, limits hold."""
    busy = "import time\nend = time.time() + 6\nwhile time.time() < end: pass"
    load = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2 * os.cpu_count())]
    flown = fly(hz, 3.0)
    for process in load:
        process.kill()
        process.wait()
    check_limits(flown)
    figures = summary(flown.flight)
    return {"missed": figures["missed"], "lateness_ms": figures["lateness_ms"]}


def torn_write(hz: float) -> dict:
    """Row 13: a plan left half written is never used."""

    def tear(arm, gate, controller):
        os.kill(controller.planner_pid, signal.SIGSTOP)
        time.sleep(0.001)
        controller._slots.plan._row["actions"] = 1e9  # as if the writer had died in the middle
        controller._slots.plan._row["seq"] |= 1

    flown = fly(hz, 4.0, at=tear)
    check_limits(flown)
    assert np.abs(np.array(flown.arm.commands)).max() <= 2.0
    assert flown.first(State.HOLD, after=flown.events["at"]) is not None
    return {"states": summary(flown.flight)["states"]}


def soak(hz: float, seconds: float) -> dict:
    """Row 14: nothing grows, hardly a slot is missed."""
    before = _resident()
    flown = fly(hz, seconds)
    figures = summary(flown.flight)
    return {
        "ticks": figures["ticks"],
        "missed": figures["missed"],
        "lateness_ms": figures["lateness_ms"],
        "grown_mb": round((_resident() - before) / 1e6, 1),
        "threads": threading.active_count(),
    }


def replay(hz: float) -> dict:
    """Row 15: commands once more from the log, bit for bit, through holds and seams."""
    flown = fly(hz, 4.0, faults=FaultConfig(stall_at=AT, stall=0.8, drop=0.2))
    check_limits(flown)
    check_replay(flown)
    states = {change["to"] for change in changes(flown.flight)}
    assert states == {"RUN", "HOLD"}, states
    return {"ticks": len(flown.flight.ticks), "plans": summary(flown.flight)["plans"]}


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


ROWS = {
    1: bus_drops_out,
    2: plans_go_bad,
    3: plans_jump,
    4: planning_stops,
    7: control_is_killed,
    8: signals_come,
    9: emergency_stop,
    10: start_outside,
    11: arm_is_blocked,
    12: starvation,
    13: torn_write,
    14: soak,
    15: replay,
}


def main() -> None:
    """Run the rows, print what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=sorted(ROWS))
    parser.add_argument("--hz", type=float, default=100.0)
    parser.add_argument("--soak", type=float, default=60.0)
    parser.add_argument("--victim", default="")
    options = parser.parse_args()
    if options.victim:
        be_victim(options.victim, options.hz)
        return
    results, failed = {}, []
    for number in options.rows:
        arguments = (options.hz, options.soak) if number == 14 else (options.hz,)
        try:
            results[number] = {"row": ROWS[number].__name__, **ROWS[number](*arguments)}
        except AssertionError as error:
            results[number] = {"row": ROWS[number].__name__, "failed": str(error)}
            failed.append(number)
        sys.stderr.write(f"{number}: {json.dumps(results[number])}\n")
    summary_line = {"load": round(os.getloadavg()[0], 2), "failed": failed, "not_run": NOT_RUN}
    sys.stdout.write(json.dumps({**summary_line, "rows": results}) + "\n")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
