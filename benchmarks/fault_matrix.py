"""Every fault that the design names, injected into a flight; what must hold is asserted.

    python -m benchmarks.fault_matrix [--robot so101] [--rows 2 3 ...] [--hz 50] [--soak 60]

Each row flies an emulated arm (see `fault_arm`) with the whole loop: planning process, gate,
flight log. States and limits are asserted, latencies are recorded. Row 6 breaks the plans as a
bad network would; the transport itself has its tests in tests/vla/serving. Ends with one JSON
line; exit status 1 when a row fails.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.fault_arm import ARMS, FaultyCamera, WaveOf, joints_of, with_camera
from robot_drivers.camera_process import ProcessCameras
from robot_drivers.cameras import NoCameras
from robot_drivers.causes import CAUSES, Cause
from robot_drivers.config import GateConfig, RobotConfig
from robot_drivers.limits import TOLERANCE
from robot_drivers.link import BridgedRobot
from robot_drivers.replay import motion_limits, replay_flight
from robot_drivers.robot_world import RobotWorld
from robot_drivers.stops import StopFile
from vla.errors import VlaError
from vla.runtime import record
from vla.runtime.config import AsyncControlConfig
from vla.runtime.faults import FaultConfig
from vla.runtime.flight_figures import changes, summary
from vla.runtime.live import run_live
from vla.runtime.plan_log import plan_path, read_plans
from vla.runtime.record import Flight, FlightLog, read_flight
from vla.runtime.states import State

AT = 1.0  # seconds after the first tick at which the loop's own faults begin
GATE = GateConfig(hold_limit=30.0)
ROBOT = ["so101"]  # by --robot; in a list, for there is one in the whole script


@dataclass
class Flown:
    """A flight and what is needed to judge it."""

    flight: Flight
    path: Path
    arm: object
    gate: GateConfig
    body: object
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
        sent = ticks["gated"][:, joints_of(self.body)]
        still = (np.abs(np.diff(sent, axis=0)) < 1e-6).all(axis=1)
        row = still & np.roll(still, -1) & np.roll(still, -2) & (since >= after)
        return float(since[row][0] - after) if row.any() else None


def fly(
    hz: float,
    seconds: float,
    *,
    faults: FaultConfig | None = None,
    at: Callable[[object, object, object], None] | None = None,
    gate: GateConfig = GATE,
    control: AsyncControlConfig | None = None,
    stop_file: str = "",
    place: float = 0.0,
    camera: FaultyCamera | None = None,
    wave: dict | None = None,
    growth: int = 0,
) -> Flown:
    """One flight; `at(arm, gate, controller)` is called once, `AT` seconds after its begin."""
    arm, control = ARMS[ROBOT[0]](hz), control or AsyncControlConfig(hang=1.0)
    arm.stand_at(place)
    body = with_camera(arm.embodiment) if camera else arm.embodiment
    judge = gate.build(body)
    factory = (faults or FaultConfig()).wrap(WaveOf(body, **(wave or {})))
    controller = control.open(factory, body, limits=motion_limits(judge))
    path = Path(tempfile.mkdtemp(prefix="fault-")) / "flight.vlalog"
    record.GROWTH = growth or 4096
    log = FlightLog(path, embodiment=body, causes=CAUSES)
    robot = BridgedRobot(arm, losses=RobotConfig().losses)
    stops = [StopFile(stop_file)] if stop_file else []
    cameras = ProcessCameras(camera, body) if camera else NoCameras()
    world = RobotWorld(
        robot, cameras, gate=judge, log=log, pilot=controller, stops=stops, embodiment=body
    )
    flown = Flown(None, path, arm, gate, body, control, 0.0)

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
    except VlaError as error:
        flown.error = type(error).__name__
        sys.stderr.write(f"  {flown.error}: {error}\n")
    finally:
        flown.events["refused"] = controller.refused
        controller.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        flown.events["torque"] = arm.torque
        arm.end()
    flown.flight = read_flight(path)
    return flown


def check_limits(flown: Flown) -> None:
    """Speed and acceleration of every command that was sent, whatever happened."""
    ticks, hz = flown.flight.ticks, flown.flight.embodiment.hz
    sent = ticks["gated"][:, joints_of(flown.body)].astype(np.float64)
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
        gate=flown.gate.build(flown.flight.embodiment),
        policy_body=flown.flight.embodiment,
    )
    assert result.identical, f"replay differs: {result}"


def bus_drops_out(hz: float) -> dict:
    """Row 1: two lost exchanges are bridged, a silent bus is a fault."""
    short = fly(hz, 2.0, at=lambda arm, *_: arm.go_silent(1.5 / hz))
    assert not short.error, short.error
    check_limits(short)
    long = fly(hz, 3.0, at=lambda arm, *_: arm.go_silent(1.5))
    assert long.error == "RobotError", long.error
    assert State(long.flight.ticks["mode"][-1]) is State.FAULT
    after = len(long.flight.ticks) / hz - long.events["at"]
    return {"fault_after_ms": round(after * 1e3, 1)}


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


def cameras_break(hz: float) -> dict:
    """Row 5: no new picture holds within 300 ms; a wrong size and a lost camera are faults."""
    result = {}
    frozen = fly(hz, 5.0, camera=FaultyCamera("frozen"))
    check_limits(frozen)
    ticks = frozen.flight.ticks
    stuck = np.flatnonzero(np.diff(ticks["frame"][:, 0].astype(int)) > 0)[-1] + 1
    held = np.flatnonzero(ticks["cause"] == Cause.STALE)
    assert len(held), "no hold"
    hold = float(ticks["time"][held[held > stuck][0]] - ticks["captured"][stuck, 0])
    assert hold <= 0.3 + 2 / hz, f"hold after {hold:.3f} s"
    result["frozen"] = {"hold_after_ms": _ms(hold)}
    for fault in ("size", "unplugged"):
        flown = fly(hz, 5.0, camera=FaultyCamera(fault))
        assert flown.error == "RobotError", (fault, flown.error)
        assert flown.events["torque"]
        check_limits(flown)
        result[fault] = {"error": flown.error, "state": State(flown.flight.ticks["mode"][-1]).name}
    return result


def network_is_bad(hz: float) -> dict:
    """Row 6: late, repeated and reordered plans; the wall clock has no effect."""
    result = {}
    for trouble in ("jitter", "replayed", "reordered", "clock"):
        flown = fly(hz, 4.0, wave={"trouble": trouble})
        check_limits(flown)
        refused = flown.events["refused"]
        states = summary(flown.flight)["states"]
        if trouble == "replayed":
            assert flown.first(State.HOLD, after=1.0) is not None, "no hold"
            assert sum(refused.values()) > 3, refused
        if trouble == "reordered":
            assert sum(refused.values()) > 0, refused
        result[trouble] = {"refused": refused, "states": states}
    return result


def control_is_killed(hz: float) -> dict:
    """Row 7: the log is whole to the last tick; the last command is one step away."""
    folder = tempfile.mkdtemp(prefix="fault-")
    command = [sys.executable, "-m", "benchmarks.fault_matrix", "--victim", folder,
               "--hz", str(hz), "--robot", ROBOT[0]]  # fmt: skip
    victim = subprocess.Popen(command, stdout=subprocess.PIPE)
    victim.stdout.readline()
    time.sleep(1.0)
    victim.kill()
    victim.wait()
    victim.stdout.close()
    flight = read_flight(Path(folder) / "flight.vlalog")
    assert len(flight.ticks) > 0.5 * hz, len(flight.ticks)
    joints = joints_of(flight.embodiment)
    step = np.abs(np.diff(flight.ticks["gated"][:, joints], axis=0)).max()
    assert step <= GATE.joint_speed / hz * (1 + 2 * TOLERANCE)
    return {"ticks": len(flight.ticks), "largest_step_rad": round(float(step), 5)}


def be_victim(folder: str, hz: float) -> None:
    """A flight for `control_is_killed`."""
    fly_for_ever(folder, ARMS[ROBOT[0]](hz))


def fly_for_ever(folder: str, arm: object) -> None:
    """Fly `arm` until somebody ends this process; says "flying" when it begins."""
    judge = GATE.build(arm.embodiment)
    control = AsyncControlConfig()
    controller = control.open(WaveOf(arm.embodiment), arm.embodiment, limits=motion_limits(judge))
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
        assert flown.events["torque"]
        took = len(flown.flight.ticks) / hz - flown.events["at"]
        assert took <= 0.15 + 3 / hz, took
        result[number.name] = _ms(took)
    return result


def emergency_stop(hz: float) -> dict:
    """Row 9: a stop file: no motion within two ticks, latched."""
    path = tempfile.mktemp(prefix="stop-")
    flown = fly(hz, 3.0, at=lambda *_: Path(path).touch(), stop_file=path)
    Path(path).unlink(missing_ok=True)
    ticks = flown.flight.ticks
    assert flown.error == "GateRefusal", flown.error
    assert State(ticks["mode"][-1]) is State.ESTOP
    assert (ticks["gated"][-1] == ticks["gated"][-2]).all()
    return {"ticks": round(len(ticks) - flown.events["at"] * hz)}


def start_outside(hz: float) -> dict:
    """Row 10: an arm outside its limits is not moved."""
    flown = fly(hz, 1.0, place=2.4)  # the emulated joints end at 1.92 and less
    assert flown.error == "RobotError", flown.error
    assert not flown.arm.commands
    return {}


def arm_is_blocked(hz: float) -> dict:
    """Row 11: a joint that does not follow is held; nothing leads it by more than `tracking`.

    The plans go on from the clock, not from where the arm stands, so that they run away.
    """
    gate = replace(GATE, tracking=0.1)
    wave = {"amplitude": 0.2, "open_loop": True}
    flown = fly(hz, 5.0, at=lambda arm, *_: arm.pin(), gate=gate, wave=wave)
    check_limits(flown)
    ticks, joints = flown.flight.ticks, joints_of(flown.body)
    lead = np.abs(ticks["gated"] - ticks["state"])[:, joints].max(axis=1)
    slack = GATE.joint_speed**2 / (2 * GATE.joint_acceleration) + 2 * GATE.joint_speed / hz
    assert lead.max() <= gate.tracking + slack + 0.01, lead.max()
    held = np.flatnonzero(ticks["cause"] == Cause.TRACKING)
    assert len(held), "not noticed"
    over = np.flatnonzero(lead > gate.tracking)[0]
    late = float(ticks["time"][held[0]] - ticks["time"][over])
    assert late <= 0.1, late
    return {"hold_after_ms": _ms(max(late, 0.0)), "largest_lead_rad": round(float(lead.max()), 3)}


def starvation(hz: float) -> dict:
    """Row 12: every core busy in Python: slots are skipped and counted, limits hold."""
    busy = "import time\nend = time.time() + 6\nwhile time.time() < end: pass"
    load = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2 * os.cpu_count())]
    flown = fly(hz, 3.0)
    for process in load:
        process.kill()
        process.wait()
    check_limits(flown)
    ticks, figures = flown.flight.ticks, summary(flown.flight)
    overrun = ticks["missed"] > GATE.max_missed
    assert (ticks["mode"][overrun] != State.RUN).all(), "moved on after a gap"
    full = fly(hz, 6.0, at=fill_disk, growth=int(2 * hz))
    assert full.error == "DataError", full.error
    assert full.events["torque"]
    assert len(full.flight.ticks) == 2 * int(2 * hz) or len(full.flight.ticks) == int(2 * hz)
    return {"missed": figures["missed"], "lateness_ms": figures["lateness_ms"],
            "full_disk_ticks": len(full.flight.ticks)}  # fmt: skip


def fill_disk(*_: object) -> None:
    """No file of this process grows any further."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


def torn_write(hz: float) -> dict:
    """Row 13: a plan left half written is never used."""

    def tear(arm, gate, controller):
        os.kill(controller.planner_pid, signal.SIGSTOP)
        time.sleep(0.001)
        controller._slots.plan._row["actions"] = 1e9  # as if the writer had died in the middle
        controller._slots.plan._row["seq"] |= 1

    flown = fly(hz, 4.0, at=tear)
    check_limits(flown)
    assert np.abs(np.array(flown.arm.commands)).max() <= 2.75
    assert flown.first(State.HOLD, after=flown.events["at"]) is not None
    return {"states": summary(flown.flight)["states"]}


def soak(hz: float, seconds: float) -> dict:
    """Row 14: nothing grows, hardly a slot is missed."""
    before, threads = _resident(), threading.active_count()
    flown = fly(hz, seconds)
    figures, grown = summary(flown.flight), (_resident() - before) / 1e6
    # The log's pages and what is loaded once count too; a leak would go on.
    assert grown < 40 + 0.2 * seconds, f"{grown:.0f} MB more"
    assert threading.active_count() <= threads, "threads are left"
    assert figures["ticks"] + figures["missed"] > 0.95 * hz * (seconds - 1)
    return {
        "ticks": figures["ticks"],
        "missed": figures["missed"],
        "lateness_ms": figures["lateness_ms"],
        "grown_mb": round(grown, 1),
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
    5: cameras_break,
    6: network_is_bad,
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
    parser.add_argument("--robot", choices=sorted(ARMS), default="so101")
    parser.add_argument("--hz", type=float, default=50.0)
    parser.add_argument("--soak", type=float, default=60.0)
    parser.add_argument("--victim", default="")
    options = parser.parse_args()
    ROBOT[0] = options.robot
    if options.victim:
        be_victim(options.victim, options.hz)
        return
    results, failed = {}, []
    for number in options.rows:
        arguments = (options.hz, options.soak) if number == 14 else (options.hz,)
        try:
            results[number] = {"row": ROWS[number].__name__, **ROWS[number](*arguments)}
        except (AssertionError, OSError, VlaError) as error:
            said = f"{type(error).__name__}: {error}"
            results[number] = {"row": ROWS[number].__name__, "failed": said}
            failed.append(number)
        sys.stderr.write(f"{number}: {json.dumps(results[number])}\n")
    summary_line = {"robot": options.robot, "load": round(os.getloadavg()[0], 2), "failed": failed}
    sys.stdout.write(json.dumps({**summary_line, "rows": results}) + "\n")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
