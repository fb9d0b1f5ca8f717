"""What every driver must do on (emulated) hardware; one list of checks for all of them.

A driver's test file offers a `Bench`: the driver, the truth behind it, and the faults its
emulator knows. `CHECKS` are then run one by one, each with a fresh driver. `PLANTED` holds
drivers with one typical bug each: for every one of them a check must fail, or the checks
are worth nothing (see `failed_checks`).
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import numpy as np
import pytest

from vla.contract import Robot
from vla.errors import RobotError, VlaError

STEP = 0.15
"""Of the test motions, in units of the axis (rad); small enough for every start pose."""
SETTLE = 3.0
"""Seconds a motion of STEP may take."""


class Bench(Protocol):
    """A device on the bench: what a test may know and do that a driver may not."""

    close_to: float  # tolerance of a settled joint, rad
    faults: tuple[
        str, ...
    ]  # of "silent" (no answer), "gone" (connection lost), "flaky" (some lost)
    bound: float  # longest a call may take while a fault lasts, seconds
    read_within: int  # reads until a lasting fault must have raised

    def driver(self) -> Robot:
        """A fresh driver, not connected."""

    def truth(self) -> np.ndarray:
        """Where the joints really are, in the axes of the driver's state (float64, (S,))."""

    def holds(self) -> bool:
        """Whether the motors (or brakes) keep the arm up now."""

    def fail(self, fault: str) -> None:
        """Begin a fault."""

    def repair(self) -> None:
        """End all faults; what was lost can be connected again."""


def joints(robot: Robot) -> np.ndarray:
    """Which axes of the state are joints, as a mask."""
    return np.array([axis.unit == "rad" for axis in robot.embodiment.state])


def check_connect_moves_nothing(bench: Bench, robot: Robot) -> None:
    """Connecting keeps the pose; the driver is a Robot with finite, bounded axes."""
    before = bench.truth()
    robot.connect()
    time.sleep(0.1)
    assert isinstance(robot, Robot)
    moved = np.abs(bench.truth() - before)[joints(robot)].max()
    assert moved < 2 * bench.close_to, f"connecting moved a joint by {moved:.3f} rad"
    for axis in (*robot.embodiment.state, *robot.embodiment.action):
        assert np.isfinite([axis.low, axis.high]).all(), f"{axis.name} has no limits"


def check_state_is_true_and_fresh(bench: Bench, robot: Robot) -> None:
    """float32 in SI units, equal to the truth, with capture times that rise and are recent."""
    robot.connect()
    times = []
    for _ in range(20):
        state, when = robot.read()
        assert state.dtype == np.float32
        assert state.shape == (len(robot.embodiment.state),)
        assert time.monotonic() - when < 0.1, "the capture time is old or of another clock"
        assert when <= time.monotonic(), "the capture time lies in the future"
        times.append(when)
        time.sleep(0.01)
    assert (np.diff(times) >= 0).all(), "capture times run backwards"
    assert times[-1] - times[0] > 0.1, "capture times stand still"
    error = np.abs(state - bench.truth())[joints(robot)].max()
    assert error < bench.close_to, f"the state is {error:.3f} rad off the truth"


def check_write_converges(bench: Bench, robot: Robot) -> None:
    """Each joint goes where it is told, in sign and unit; what was sent is returned."""
    robot.connect()
    state, _ = robot.read()
    low = np.array([axis.low for axis in robot.embodiment.action])
    high = np.array([axis.high for axis in robot.embodiment.action])
    signs = np.where(np.arange(len(low)) % 2, -1.0, 1.0)
    goal = np.where(joints(robot), state + STEP * signs, state)
    goal = np.clip(goal, low, high).astype(np.float32)
    path = np.linspace(state, goal, 15).astype(np.float32)
    for row in path:
        sent = robot.write(row)
        robot.read()
        time.sleep(0.02)
    np.testing.assert_allclose(sent, goal, atol=1e-4)
    until = time.monotonic() + SETTLE
    while time.monotonic() < until:
        state, _ = robot.read()
        robot.write(goal)
        if np.abs(state - goal)[joints(robot)].max() < bench.close_to:
            break
        time.sleep(0.02)
    for what, value in (("state", state), ("truth", bench.truth())):
        error = np.abs(value - goal)[joints(robot)].max()
        assert error < bench.close_to, f"the {what} stays {error:.3f} rad off the goal"


def check_no_bad_command_is_sent(bench: Bench, robot: Robot) -> None:
    """NaN and a wrong shape are typed errors; nothing moves."""
    robot.connect()
    state, _ = robot.read()
    before = bench.truth()
    for bad in (state * np.nan, np.full_like(state, np.inf), state[:-1]):
        with pytest.raises(VlaError):
            robot.write(bad)
    time.sleep(0.1)
    assert np.abs(bench.truth() - before)[joints(robot)].max() < bench.close_to


def check_halt_holds(bench: Bench, robot: Robot) -> None:
    """Halting stops a motion soon, keeps torque, and may be repeated without drifting."""
    robot.connect()
    robot.halt()
    state, _ = robot.read()
    goal = state.copy()
    goal[0] += STEP * 3
    for row in np.linspace(state, goal, 30).astype(np.float32)[:15]:
        robot.write(row)
        robot.read()
        time.sleep(0.02)
    robot.halt()
    time.sleep(0.4)
    robot.read()
    here = bench.truth()
    for _ in range(5):
        robot.halt()
        time.sleep(0.05)
    assert np.abs(bench.truth() - here)[joints(robot)].max() < bench.close_to, "the hold drifts"
    assert bench.truth()[0] < goal[0] - STEP / 2, "halt did not stop the motion"
    assert bench.holds(), "halt dropped the arm"


def check_close_keeps_torque(bench: Bench, robot: Robot) -> None:
    """Closing leaves the arm up; it may be repeated, and the device opened again."""
    robot.connect()
    state, _ = robot.read()
    robot.write(state)
    robot.close()
    robot.close()
    assert bench.holds(), "close dropped the arm"
    with pytest.raises(RobotError):
        robot.read()
    before = bench.truth()
    robot.connect()
    again, _ = robot.read()
    assert np.abs(again - before)[joints(robot)].max() < bench.close_to


def check_faults_are_bounded_and_typed(bench: Bench, robot: Robot) -> None:
    """Every fault: no call takes long, the state ages honestly, then a RobotError; no drop."""
    for fault in bench.faults:
        robot.connect()
        state, _ = robot.read()
        robot.write(state)
        bench.fail(fault)
        began, raised = time.monotonic(), None
        for _ in range(bench.read_within * 3):
            start = time.monotonic()
            try:
                state, when = robot.read()
                settled = start - when
                assert fault == "flaky" or settled < 1.0, f"{fault}: a state without age"
                if fault != "flaky" and start - began > 0.05:
                    assert when < start - 0.01, f"{fault}: an old state with a new time"
            except RobotError as error:
                raised = raised or str(error)
            took = time.monotonic() - start
            assert took < bench.bound, f"{fault}: read took {took:.3f} s"
            start = time.monotonic()
            try:
                robot.write(state)
            except RobotError as error:
                raised = raised or str(error)
            took = time.monotonic() - start
            assert took < bench.bound, f"{fault}: write took {took:.3f} s"
            time.sleep(0.01)
        if fault != "flaky":
            assert raised, f"{fault}: no error in {bench.read_within * 3} reads"
            assert len(raised) > 20, f"{fault}: {raised!r} helps nobody"
        start = time.monotonic()
        try:
            robot.halt()
            robot.close()
        except RobotError:
            pass
        took = time.monotonic() - start
        assert took < 5 * bench.bound + 1.0, f"{fault}: halt and close took {took:.3f} s"
        bench.repair()
        assert bench.holds(), f"{fault}: the arm was dropped"
        robot.close()


CHECKS: list[Callable[[Bench, Robot], None]] = [
    check_connect_moves_nothing,
    check_state_is_true_and_fresh,
    check_write_converges,
    check_no_bad_command_is_sent,
    check_halt_holds,
    check_close_keeps_torque,
    check_faults_are_bounded_and_typed,
]


class Planted:
    """A driver with a bug: passes everything on to the real one except what it breaks."""

    def __init__(self, robot: Robot):
        self._robot = robot
        self.embodiment = robot.embodiment

    def connect(self):
        self._robot.connect()

    def read(self):
        return self._robot.read()

    def write(self, action):
        return self._robot.write(action)

    def halt(self):
        self._robot.halt()

    def close(self):
        self._robot.close()


class WrongUnit(Planted):
    """Takes commands for degrees."""

    def write(self, action):
        return np.rad2deg(self._robot.write(np.deg2rad(action))).astype(np.float32)


class SignFlip(Planted):
    """One motor is mounted the other way round."""

    def read(self):
        state, when = self._robot.read()
        state[1] *= -1
        return state, when

    def write(self, action):
        action = np.array(action)
        action[1:2] *= -1
        sent = self._robot.write(action)
        sent[1] *= -1
        return sent


class StaleState(Planted):
    """Gives the first state for ever, with the present time."""

    def connect(self):
        super().connect()
        self._first, _ = self._robot.read()

    def read(self):
        self._robot.read()
        return self._first.copy(), time.monotonic()


class BlockingRead(Planted):
    """Waits and tries again, for seconds."""

    def read(self):
        try:
            return self._robot.read()
        except RobotError:
            time.sleep(1.0)
            return self._robot.read()


class TorqueOffOnClose(Planted):
    """Tidies up too well."""

    def close(self):
        with suppress(RobotError):
            self._robot.release()
        super().close()


class IgnoresErrors(Planted):
    """Swallows what goes wrong and gives the last state as new."""

    def read(self):
        with suppress(RobotError):
            self._last, _ = self._robot.read()
        return self._last.copy(), time.monotonic()

    def write(self, action):
        try:
            return self._robot.write(action)
        except RobotError:
            return action


class MovesOnConnect(Planted):
    """Drives to a home pose first."""

    def connect(self):
        super().connect()
        state, _ = self._robot.read()
        state[0] += STEP
        self._robot.write(state)


class UntypedError(Planted):
    """Lets the library's own exceptions out."""

    def read(self):
        try:
            return self._robot.read()
        except RobotError as error:
            raise OSError(5, "Input/output error") from error


PLANTED = [WrongUnit, SignFlip, StaleState, BlockingRead, TorqueOffOnClose, IgnoresErrors,
           MovesOnConnect, UntypedError]  # fmt: skip


def failed_checks(bench: Bench, plant: type[Planted]) -> list[str]:
    """Names of the checks that a planted bug fails; stops at the first."""
    for check in CHECKS:
        robot = plant(bench.driver())
        try:
            check(bench, robot)
        except (AssertionError, OSError, VlaError, pytest.fail.Exception):
            return [check.__name__]
        finally:
            bench.repair()
            robot._robot.close()
    return []
