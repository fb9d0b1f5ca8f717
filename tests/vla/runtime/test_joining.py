"""What a policy is told of its last plan, and how it goes on from there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vla.runtime.chunk_fakes import BODY, HZ, Drawing, observe, plan
from vla.runtime.chunking import NewestChunk
from vla.runtime.joining import Bidirectional, Forgetting
from vla.runtime.telling import DelayEstimate, tell


def told(tick=0, pending=None, tentative=None):
    rows = (None if r is None else np.array(r, np.float32) for r in (pending, tentative))
    return replace(observe(tick), **dict(zip(("pending", "tentative"), rows, strict=True)))


def test_the_rest_of_the_plan_is_split_by_what_is_committed():
    execution = NewestChunk(BODY)
    assert tell(observe(0), execution, committed=2).pending is None
    execution.accept(plan([[k, 0, 0] for k in range(6)], tick=0))
    seen = tell(observe(2), execution, committed=3)
    assert [row[0] for row in seen.pending] == [2, 3, 4]
    assert [row[0] for row in seen.tentative] == [5]
    nothing = tell(observe(2), execution, committed=0)
    assert nothing.pending is None
    assert len(nothing.tentative) == 4
    everything = tell(observe(2), execution, committed=9)
    assert len(everything.pending) == 4
    assert everything.tentative is None
    assert tell(observe(6), execution, committed=1).pending is None


def test_a_plan_that_is_not_finite_is_not_told():
    execution = NewestChunk(BODY)
    execution.accept(plan([[np.nan, 0, 0]] * 3))
    assert tell(observe(1), execution, committed=1).tentative is None


@given(
    delays=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    window=st.integers(1, 10),
    quantile=st.floats(0, 1),
)
def test_the_delay_is_one_of_the_last_ones(delays, window, quantile):
    estimate = DelayEstimate(window=window, quantile=quantile)
    assert estimate.rows(HZ) == 0
    for delay in delays:
        estimate.add(delay)
    recent = delays[-window:]
    rows = estimate.rows(HZ)
    assert rows in {max(int(np.ceil(d * HZ - 1e-6)), 0) for d in recent}
    covered = sum(d * HZ <= rows + 1e-6 for d in recent)
    assert covered >= quantile * (len(recent) - 1)
    assert estimate.rows(HZ, lead=1.0) == pytest.approx(rows + HZ, abs=1)


def test_one_slow_plan_is_forgotten():
    estimate = DelayEstimate(window=4, quantile=1.0)
    for delay in (5.0, 0.1, 0.1, 0.1):
        estimate.add(delay)
    assert estimate.rows(HZ) == 100
    estimate.add(0.1)
    assert estimate.rows(HZ) == 2


def test_a_trained_head_is_told_of_the_pending_rows_alone():
    inner = Drawing()
    policy = Forgetting(inner, most=2)
    rows = [[k, 0, 0] for k in range(3)]
    policy.act([told(pending=rows, tentative=rows), told(tentative=rows)], seeds=[1, 2])
    assert [row[0] for row in inner.asked[0].pending] == [0, 1]
    assert inner.asked[0].tentative is None
    assert inner.asked[1].pending is None
    Forgetting(inner, most=0).act([told(pending=rows)], seeds=[1])
    assert len(inner.asked[2].pending) == 3


def test_without_a_last_plan_the_first_sample_is_the_plain_plan():
    plain = Drawing().act([observe(3), observe(4)], seeds=[5, 6])
    chosen = Bidirectional(Drawing(), samples=4, decay=0.5).act(
        [observe(3), observe(4)], seeds=[5, 6]
    )
    for mine, theirs in zip(chosen, plain, strict=True):
        np.testing.assert_array_equal(mine.actions, theirs.actions)


def test_the_sample_nearest_to_the_last_plan_is_taken():
    inner = Drawing()
    candidates = inner.act([observe(0)] * 1, seeds=[9])
    policy = Bidirectional(inner, samples=6, decay=1.0)
    inner.asked.clear()
    inner.seeds.clear()
    policy.act([observe(0)], seeds=[9])
    assert len(set(inner.seeds)) == 6
    candidates = inner.act([observe(0)] * 6, seeds=list(inner.seeds))
    wanted = candidates[4].actions
    (chosen,) = policy.act([told(pending=wanted[:2], tentative=wanted[2:5])], seeds=[9])
    np.testing.assert_array_equal(chosen.actions, wanted)
    assert all(o.pending is None and o.tentative is None for o in inner.asked)
    again = policy.act([observe(1), told(pending=wanted[:2], tentative=wanted[2:5])], seeds=[0, 9])
    np.testing.assert_array_equal(again[1].actions, wanted)  # whatever else is in the batch


class Shifted(Drawing):
    """A worse policy: it draws around another place."""

    def act(self, observations, *, seeds):
        return [
            replace(chunk, actions=chunk.actions + np.float32(3))
            for chunk in super().act(observations, seeds=seeds)
        ]


def test_a_weak_policy_pushes_the_choice_away():
    """Without a last plan the sample farthest from the weak ones, near its own, is taken."""
    policy = Bidirectional(Drawing(), samples=5, decay=0.5, weak=Shifted())
    inner = Drawing()
    Bidirectional(inner, samples=5, decay=0.5).act([observe(0)], seeds=[1])
    strong = [chunk.actions for chunk in Drawing().act([observe(0)] * 5, seeds=list(inner.seeds))]
    half = np.array([100, 1, 0.5])

    def apart(first, second):
        return np.linalg.norm((first - second) / half, axis=1).sum()

    contrast = [
        np.mean([apart(a, b) for b in strong]) - np.mean([apart(a, b + 3) for b in strong])
        for a in strong
    ]
    (chosen,) = policy.act([observe(0)], seeds=[1])
    np.testing.assert_array_equal(chosen.actions, strong[int(np.argmin(contrast))])
