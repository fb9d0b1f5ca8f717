"""What must hold of every flight of the fault matrix, and when things happened in it."""

import numpy as np

from benchmarks.fault_bench import Flown
from benchmarks.fault_plans import joints_of
from robot_drivers.causes import Cause
from robot_drivers.limits import TOLERANCE
from robot_drivers.replay import replay_flight
from vla.runtime.plan_log import plan_path, read_plans
from vla.runtime.states import State


def since_begin(flown: Flown) -> np.ndarray:
    """Times (N,) of the ticks, seconds after the first."""
    times = flown.flight.ticks["time"]
    return times - times[0]


def first(flown: Flown, state: State, *, after: float = 0.0) -> float | None:
    """Seconds from `after` (of flight time) to the first tick in `state`."""
    since = since_begin(flown)
    hits = since[(flown.flight.ticks["mode"] == state) & (since >= after)]
    return float(hits[0] - after) if len(hits) else None


def at_rest(flown: Flown, *, after: float) -> float | None:
    """Seconds from `after` to the first of three commands without motion."""
    since = since_begin(flown)[1:]
    sent = flown.flight.ticks["gated"][:, joints_of(flown.body)]
    still = (np.abs(np.diff(sent, axis=0)) < 1e-6).all(axis=1)
    row = still & np.roll(still, -1) & np.roll(still, -2) & (since >= after)
    return float(since[row][0] - after) if row.any() else None


def last_state(flown: Flown) -> State:
    """Of the last tick."""
    return State(flown.flight.ticks["mode"][-1])


def check_flight(flown: Flown) -> None:
    """Whatever happened: commands within limits, torque on, the log whole."""
    ticks, hz, gate = flown.flight.ticks, flown.body.hz, flown.gate
    assert (np.diff(ticks["seq"].astype(int)) == 1).all(), "ticks are missing in the log"
    ticks = ticks[ticks["cause"] != Cause.FAULT]  # repeats the command before it; sent nothing
    sent = ticks["gated"][:, joints_of(flown.body)].astype(np.float64)
    assert np.isfinite(sent).all(), "a command was not finite"
    commands = np.array(flown.commands).reshape(-1, len(flown.body.action))
    assert np.isfinite(commands).all(), "NaN reached the arm"
    speed = np.diff(sent, axis=0) * hz
    assert (np.abs(speed) <= gate.joint_speed * (1 + 2 * TOLERANCE)).all(), "too fast"
    change = np.abs(np.diff(speed, axis=0)) * hz
    gentle = ~ticks["abrupt"][2:]
    assert (change[gentle] <= gate.joint_acceleration * (1 + 5 * TOLERANCE)).all(), "too sudden"
    low = np.array([axis.low for axis in flown.body.action])
    high = np.array([axis.high for axis in flown.body.action])
    inside = (commands >= low - 1e-6) & (commands <= high + 1e-6)
    assert inside.all(), "outside of the limits"
    assert flown.torque, "torque is off"


def check_replay(flown: Flown) -> None:
    """The log gives the same commands again, bit for bit."""
    result = replay_flight(
        flown.flight,
        read_plans(plan_path(flown.path)),
        control=flown.control,
        gate=flown.gate.build(flown.flight.embodiment),
        policy_body=flown.flight.embodiment,
    )
    assert result.identical, f"replay differs: {result}"
