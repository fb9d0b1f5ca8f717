"""Rows of the fault matrix in which plans, pictures or the network go wrong."""

import os
import signal
import time
from dataclasses import replace

import numpy as np

from benchmarks.fault_bench import AT, Bench
from benchmarks.fault_judge import at_rest, check_flight, check_replay, first, since_begin
from benchmarks.fault_plans import FaultyCamera, joints_of
from robot_drivers.causes import Cause
from vla.runtime.faults import FaultConfig
from vla.runtime.flight_figures import changes, summary
from vla.runtime.states import State

STALE, RAMP = 0.25, 0.15
"""Seconds: without a plan until a hold, and from there to rest."""


def plans_go_bad(bench: Bench) -> dict:
    """Row 2: NaN, inf, the wrong size, huge: no such plan reaches the arm; sustained ones hold."""
    result = {}
    faults = {"nan": {"nan_at": AT}, "huge": {"jump_at": AT, "jump": 1e6}}
    for name, fault in faults.items():
        flown = bench.fly(3.0, faults=FaultConfig(**fault))
        check_flight(flown)
        hold = first(flown, State.HOLD, after=AT - 0.2)
        refused = flown.refused.get("not_finite", 0) + flown.refused.get("bounds", 0)
        assert refused > 3, flown.refused
        result[name] = bench.within(f"{name}: hold", _after(hold, -0.2), 0.3 + 2 / bench.hz)
    single = bench.fly(3.0, faults=FaultConfig(nan_at=AT, lasts=0.02))
    check_flight(single)
    result["single"] = summary(single.flight)["states"]
    return result


def plans_jump(bench: Bench) -> dict:
    """Row 3: plans far outside are refused; a seam inside the bounds is taken within limits."""
    far = bench.fly(3.0, faults=FaultConfig(jump_at=AT, jump=5.0))
    check_flight(far)
    assert far.refused["bounds"] > 3, far.refused
    near = bench.fly(3.0, faults=FaultConfig(jump_at=AT, jump=0.2))
    check_flight(near)
    steps = np.abs(np.diff(near.flight.ticks["gated"][:, joints_of(near.body)], axis=0))
    return {
        "far": summary(far.flight)["states"],
        "near": summary(near.flight)["states"],
        "largest_step_rad": round(float(steps.max()), 5),
    }


def planning_stops(bench: Bench) -> dict:
    """Row 4: SIGSTOP, kill -9 (what the OOM killer does), ten times slower, errors."""
    result = {}
    for name, strike in {"stopped": signal.SIGSTOP, "killed": signal.SIGKILL}.items():
        flown = bench.fly(4.0, at=lambda a, g, c, s=strike: os.kill(c.planner_pid, s))
        check_flight(flown)
        check_replay(flown)
        hold, rest = first(flown, State.HOLD, after=flown.at), at_rest(flown, after=flown.at)
        resumed = first(flown, State.RUN, after=flown.at + (hold or 0.0) + 0.05)
        late, before = flown.flight.ticks["lateness"], since_begin(flown) < flown.at
        p99 = [float(np.percentile(late[part], 99)) for part in (before, ~before)]
        result[name] = {
            "hold_after_ms": bench.within(f"{name}: hold", hold, STALE + 2 / bench.hz),
            "at_rest_after_ms": bench.within(f"{name}: rest", rest, STALE + RAMP + 2 / bench.hz),
            "runs_again_after_ms": None if resumed is None else _ms(resumed + hold + 0.05),
            "late_p99_ms": [
                round(p99[0] * 1e3, 3),
                bench.within(f"{name}: lateness", p99[1], p99[0] + 0.001),
            ],
        }
    for name, fault in {"slow": {"slow_at": AT, "slow": 0.3}, "errors": {"error_at": AT}}.items():
        flown = bench.fly(3.0, faults=FaultConfig(**fault))
        check_flight(flown)
        hold = first(flown, State.HOLD, after=AT - 0.2)
        result[name] = bench.within(
            f"{name}: hold", _after(hold, -0.2), STALE + 0.15 + 2 / bench.hz
        )
    return result


def cameras_break(bench: Bench) -> dict:
    """Row 5: no new picture holds within 300 ms; a wrong size and a lost camera are faults."""
    frozen = bench.fly(5.0, camera=FaultyCamera("frozen"))
    check_flight(frozen)
    ticks = frozen.flight.ticks
    stuck = np.flatnonzero(np.diff(ticks["frame"][:, 0].astype(int)) > 0)[-1] + 1
    held = np.flatnonzero(ticks["cause"] == Cause.STALE)
    held = held[held > stuck]
    hold = float(ticks["time"][held[0]] - ticks["captured"][stuck, 0]) if len(held) else None
    result = {"frozen": {"hold_after_ms": bench.within("hold", hold, 0.3 + 2 / bench.hz)}}
    for fault in ("size", "unplugged"):
        flown = bench.fly(5.0, camera=FaultyCamera(fault))
        assert flown.error == "RobotError", (fault, flown.error)
        check_flight(flown)
        result[fault] = {"error": flown.error, "state": State(flown.flight.ticks["mode"][-1]).name}
    return result


def network_is_bad(bench: Bench) -> dict:
    """Row 6: lost, late, repeated and reordered plans hold; the wall clock has no effect."""
    result = {}
    for trouble in ("dropped", "jitter", "replayed", "reordered", "clock"):
        flown = bench.fly(4.0, wave={"trouble": trouble})
        check_flight(flown)
        states = summary(flown.flight)["states"]
        result[trouble] = {"refused": flown.refused, "states": states}
        if trouble in ("dropped", "replayed"):
            hold = first(flown, State.HOLD, after=AT)
            late = STALE + 0.1 + 2 / bench.hz  # the second begins with the first plan, a bit later
            result[trouble]["hold_after_ms"] = bench.within(trouble, hold, late)
        if trouble in ("replayed", "reordered"):
            assert sum(flown.refused.values()) > 0, flown.refused
        if trouble == "clock":
            held = [c for c in changes(flown.flight) if c["to"] == "HOLD" and c["at"] > AT]
            assert not held or bench.loose, f"the wall clock held the arm: {held}"
    return result


def arm_is_blocked(bench: Bench) -> dict:
    """Row 11: a joint that does not follow is held; nothing leads it by more than `tracking`.

    The plans go on from the clock, not from where the arm stands, so that they run away.
    """
    gate = replace(bench.arm.config.gate, tracking=0.1)
    wave = {"amplitude": 0.2, "open_loop": True}
    flown = bench.fly(5.0, at=lambda arm, *_: arm.pin(), gate=gate, wave=wave)
    check_flight(flown)
    ticks, joints = flown.flight.ticks, joints_of(flown.body)
    lead = np.abs(ticks["gated"] - ticks["state"])[:, joints].max(axis=1)
    slack = gate.joint_speed**2 / (2 * gate.joint_acceleration) + 2 * gate.joint_speed / bench.hz
    assert lead.max() <= gate.tracking + slack + 0.01, f"leads by {lead.max():.3f} rad"
    held = np.flatnonzero(ticks["cause"] == Cause.TRACKING)
    assert len(held), "not noticed"
    over = np.flatnonzero(lead > gate.tracking)[0]
    late = max(float(ticks["time"][held[0]] - ticks["time"][over]), 0.0)
    return {
        "hold_after_ms": bench.within("hold", late, 0.1),
        "largest_lead_rad": round(float(lead.max()), 3),
    }


def torn_write(bench: Bench) -> dict:
    """Row 13: a plan left half written is never used."""

    def tear(arm, gate, controller):
        os.kill(controller.planner_pid, signal.SIGSTOP)
        time.sleep(0.001)
        controller._slots.plan._row["actions"] = 1e9  # as if the writer had died in the middle
        controller._slots.plan._row["seq"] |= 1

    flown = bench.fly(4.0, at=tear)
    check_flight(flown)
    hold = first(flown, State.HOLD, after=flown.at)
    return {
        "hold_after_ms": bench.within("hold", hold, STALE + 2 / bench.hz),
        "states": summary(flown.flight)["states"],
    }


def replay(bench: Bench) -> dict:
    """Row 15: commands once more from the log, bit for bit, through holds and seams."""
    flown = bench.fly(4.0, faults=FaultConfig(stall_at=AT, stall=0.8, drop=0.2))
    check_flight(flown)
    check_replay(flown)
    states = {change["to"] for change in changes(flown.flight)}
    assert {"RUN", "HOLD"} <= states, states
    return {"ticks": len(flown.flight.ticks), "plans": summary(flown.flight)["plans"]}


def _after(seconds: float | None, shift: float) -> float | None:
    """`seconds` counted from a moment `-shift` later; None stays."""
    return None if seconds is None else max(seconds + shift, 0.0)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)
