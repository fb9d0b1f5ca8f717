"""The grid on a virtual clock, and once on the real one."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.runtime.ticker import Ticker


class Clock:
    """Virtual time; every sleep overshoots by `overshoot`."""

    def __init__(self, overshoot=0.0):
        self.now, self.overshoot, self.sleeps = 100.0, overshoot, 0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds + self.overshoot
        self.sleeps += 1


def make(hz=10, **options):
    clock = Clock(**options)
    ticker = Ticker(hz, clock=clock, sleep=clock.sleep)
    ticker.start()
    return ticker, clock


def test_overshoot_never_adds_up():
    ticker, clock = make(overshoot=0.0004)
    slots = [ticker.wait() for _ in range(1000)]
    assert slots[-1].deadline == pytest.approx(200.0)
    assert clock.now == pytest.approx(200.0, abs=0.001)
    assert max(s.lateness for s in slots) < 0.0005
    assert sum(s.missed for s in slots) == 0


def test_a_stall_skips_slots_and_stays_on_the_grid():
    ticker, clock = make()
    ticker.wait()
    clock.now += 0.36  # slots 2, 3 and 4 pass; 4 passed 0.06 ago, more than half a period
    slot = ticker.wait()
    assert (slot.index, slot.missed) == (5, 3)
    assert slot.deadline == pytest.approx(100.5)
    assert slot.lateness == pytest.approx(0, abs=1e-6)
    assert ticker.wait().missed == 0


def test_a_little_late_still_runs():
    ticker, clock = make()
    clock.now += 0.13
    slot = ticker.wait()
    assert (slot.index, slot.missed) == (1, 0)
    assert slot.lateness == pytest.approx(0.03)


@given(st.lists(st.floats(0, 0.7), min_size=1, max_size=40))
def test_never_a_burst(works):
    """Whatever the work takes, ticks keep half a period apart, and every slot is accounted for."""
    ticker, clock = make()
    begins, slots = [clock.now], []
    for work in works:
        clock.now += work
        slots.append(ticker.wait())
        begins.append(clock.now)
    assert min(np.diff(begins)) >= 0.05 - 1e-9
    assert slots[-1].index == len(slots) + sum(s.missed for s in slots)


def test_the_real_clock_keeps_the_rate():
    ticker = Ticker(100)
    begin = ticker.start().deadline
    slots = [ticker.wait() for _ in range(50)]
    assert time.monotonic() - begin == pytest.approx(slots[-1].index / 100, abs=0.1)
    assert all(s.lateness >= 0 for s in slots)
