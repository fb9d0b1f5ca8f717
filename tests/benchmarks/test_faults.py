"""The fault matrix, the fuzz of the gate and the soak's arithmetic, as CI can afford them.

The scripts are those that fly a real arm. Here times are noted, not asserted (`loose`): a machine
with two busy workers says nothing about them.
"""

import numpy as np
import pytest

pytest.importorskip("scservo_sdk", reason="needs vla-stack[feetech]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def bench():
    from benchmarks.fault_arm import EmulatedArm
    from benchmarks.fault_bench import Bench
    from benchmarks.fault_table import LOOSE

    arm = EmulatedArm(LOOSE)
    yield Bench(arm=arm, loose=True)
    arm.end()


# the rows that need few seconds; the others take two minutes more: run the script
@pytest.mark.parametrize("number", [3, 8, 9, 10, 11, 13, 15])
def test_rows_of_the_fault_matrix(bench, number):
    from benchmarks.fault_table import fly_row

    found = fly_row(bench, number)
    assert "failed" not in found, found


def test_limits_in_the_matrix_are_the_arm_s_own(bench):
    """The judge finds a command that is too fast, and one that is not finite."""
    from benchmarks.fault_judge import check_flight
    from vla.runtime.record import Flight

    flown = bench.fly(1.0)
    check_flight(flown)
    ticks = flown.flight.ticks.copy()
    ticks["gated"][-1, 0] += 0.5
    flown.flight = Flight(header=flown.flight.header, ticks=ticks)
    with pytest.raises(AssertionError, match="too fast"):
        check_flight(flown)
    flown.commands.append(np.full(6, np.nan))
    flown.flight.ticks["gated"][-1, 0] -= 0.5
    with pytest.raises(AssertionError, match="NaN reached"):
        check_flight(flown)


def test_fuzzed_commands_and_a_gate_that_lets_too_much_through(monkeypatch):
    from benchmarks import fuzz_gate

    result = fuzz_gate.fuzz(2000, seed=5, hz=50.0)
    assert result["illegal_arrived"] == 0, result
    assert result["torque_on"]
    assert result["let_through"] > 200
    assert {"NOT_FINITE", "SHAPE", "VELOCITY", "ACCELERATION"} <= set(result["causes"])
    monkeypatch.setattr("robot_drivers.limits.Body.exceeds", lambda *_: False)  # a planted bug
    assert fuzz_gate.fuzz(500, seed=5, hz=50.0)["illegal_arrived"] > 0


def test_a_leak_is_found_in_samples():
    from benchmarks.soak import ALLOWED, growth

    times = np.linspace(0, 600, 200)
    steady = [(t, {"memory_mb": 100.0, "files": 20, "threads": 5}) for t in times]
    leaking = [(t, {"memory_mb": 100 + t / 10, "files": 20 + t // 60, "threads": 5}) for t in times]
    assert all(growth(steady)[name] <= most for name, most in ALLOWED.items())
    found = growth(leaking)
    assert found["memory_mb"] > ALLOWED["memory_mb"]
    assert found["files"] > ALLOWED["files"]
    assert found["memory_mb_per_hour"] == pytest.approx(360, rel=0.01)
