"""Executions: rows by time, order of plans, blends at their limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vla.runtime.chunk_fakes import BODY, HZ, STEPS, plan
from vla.errors import ConfigError, ContractError
from vla.runtime.chunking import ChunkExecution
from vla.runtime.chunking_blends import AdaptiveEnsemble, CrossFade, TemporalEnsemble
from vla.runtime.execution_config import EXECUTIONS, AdaptiveConfig, TrainedRtcConfig

floats = st.floats(-1, 1, width=32)
ROWS = st.lists(
    st.lists(st.tuples(floats, floats, st.floats(0, 1, width=32)), min_size=4, max_size=4),
    min_size=2,
    max_size=4,
)


def feed(execution, plans, *, first=0):
    """One plan per tick, every tick carried out; the last action."""
    action = None
    for tick, rows in enumerate(plans, start=first):
        execution.accept(plan(rows, tick))
        action = execution.row(tick / HZ)
    return action


def adaptive(alpha, window=8, floor=0.0, body=STEPS):
    return AdaptiveEnsemble(body, alpha=alpha, window=window, floor=floor)


def test_rows_are_chosen_by_time():
    for kind, config in EXECUTIONS.items():
        execution = config().build(BODY)
        assert isinstance(execution, ChunkExecution), kind
        assert execution.row(0.0) is None
        assert execution.ahead(0.0) is None
        execution.accept(plan([[k, 0, 0] for k in range(5)], tick=10))
        for tick in (10, 11, 13):  # the row of a missed slot is dropped
            assert execution.row(tick / HZ)[0] == tick - 10, kind
            assert execution.index == tick - 10
        assert execution.row(15 / HZ) is None
        np.testing.assert_array_equal(execution.ahead(13 / HZ)[:, 0], [3, 4])
        assert execution.ahead(15 / HZ) is None
        with pytest.raises(ContractError, match="backwards"):
            execution.row(9 / HZ)


def test_plans_out_of_order_are_refused_and_change_nothing():
    for config in EXECUTIONS.values():
        execution = config().build(BODY)
        execution.accept(plan([[7, 0, 0]] * 4, tick=3))
        for tick in (2, 3):
            with pytest.raises(ContractError, match="order"):
                execution.accept(plan([[8, 0, 0]] * 4, tick=tick))
        assert execution.row(3 / HZ)[0] == 7
        execution.reset()
        execution.accept(plan([[8, 0, 0]] * 4, tick=2))
        assert execution.row(2 / HZ)[0] == 8


@given(plans=ROWS, horizon=st.just(1))
def test_with_one_row_every_execution_sends_the_newest_plan(plans, horizon):
    for config in EXECUTIONS.values():
        execution = config().build(BODY)
        for tick, rows in enumerate(plans):
            action = feed(execution, [rows[:horizon]], first=tick)
            np.testing.assert_array_equal(action, np.array(rows[0], np.float32))


@given(plans=ROWS)
def test_without_a_fade_the_newest_plan_is_sent(plans):
    action = feed(CrossFade(BODY, fade=0), plans)
    np.testing.assert_array_equal(action, np.array(plans[-1][0], np.float32))


def test_a_fade_is_straight_and_another_plan_fades_in_over_what_is_sent():
    execution = CrossFade(BODY, fade=3)
    execution.accept(plan([[0, 0, 0]] * 20))
    execution.row(0.0)
    execution.accept(plan([[4, 0, 0]] * 20, tick=1))
    assert [execution.row(t / HZ)[0] for t in (2, 3)] == [1, 2]
    execution.accept(plan([[8, 0, 0]] * 20, tick=3))
    sent = [float(execution.row(t / HZ)[0]) for t in range(4, 9)]
    assert sent[0] == pytest.approx(3 + (8 - 3) / 4)  # not 8, and not from 4
    assert sent == sorted(sent)
    assert sent[3:] == [8, 8]


@given(plans=ROWS)
def test_ensemble_weighs_by_age(plans):
    values = np.array([rows[len(plans) - 1 - n] for n, rows in enumerate(plans)])
    uniform = feed(TemporalEnsemble(BODY, decay=0.0, window=9), plans)
    np.testing.assert_allclose(uniform, values.mean(0), atol=1e-5)
    oldest = feed(TemporalEnsemble(BODY, decay=60.0, window=9), plans)
    np.testing.assert_allclose(oldest, values[0], atol=1e-5)
    act = np.exp(-0.5 * np.arange(len(values)))
    mixed = feed(TemporalEnsemble(BODY, decay=0.5, window=9), plans)
    np.testing.assert_allclose(mixed, act @ values / act.sum(), atol=1e-5)
    lone = feed(TemporalEnsemble(BODY, decay=0.0, window=1), plans)
    np.testing.assert_allclose(lone, values[-1], atol=1e-6)


@given(plans=ROWS)
def test_adaptive_ensemble_at_its_limits(plans):
    values = np.array([rows[len(plans) - 1 - n] for n, rows in enumerate(plans)])
    mixed = feed(adaptive(0.0), plans)
    np.testing.assert_allclose(mixed[:2], values.mean(0)[:2], atol=1e-5)
    np.testing.assert_allclose(mixed[2], values[-1, 2], atol=1e-6)  # grippers: the newest
    motion = values[:, :2]
    size = np.linalg.norm(motion, axis=1)
    if size.min() > 1e-3:
        cosine = motion @ motion[-1] / (size * size[-1])
        if (cosine[:-1] < 0.999).all():
            newest = feed(adaptive(1e6), plans)
            np.testing.assert_allclose(newest, values[-1], atol=1e-5)


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.1, 0.0, 0.12), (5.0, 0.99, 1.0)])
def test_only_a_large_alpha_keeps_to_one_of_two_ways(alpha, low, high):
    """Half of the plans go left, half right; the published alpha lands between them."""
    plans = [[[sign, 0.1, 0.0]] * 8 for sign in (-1, 1, -1, 1)]
    assert low <= feed(adaptive(alpha), plans)[0] <= high


def test_grippers_do_not_decide_what_agrees_and_small_motion_has_no_direction():
    ways = [[[-0.01, 0, 1]] * 3, [[0.01, 0, 1]] * 3]
    assert feed(adaptive(50.0), ways)[0] == pytest.approx(0.01, abs=1e-6)
    assert feed(adaptive(50.0, floor=0.02), ways)[0] == pytest.approx(0.0, abs=1e-6)


def test_absolute_axes_agree_by_where_they_go_from_the_last_action():
    execution = AdaptiveEnsemble(BODY, alpha=50.0, window=4, floor=0.0)
    execution.accept(plan([[10, 0, 0], [11, 0, 0], [12, 0, 0]]))
    execution.row(0.0)
    execution.accept(plan([[9, 0, 0]] * 3, tick=1))  # positions 11 and 9 are nearly parallel
    assert execution.row(1 / HZ)[0] == pytest.approx(9, abs=1e-4)


def test_faster_streams_are_averaged_alike():
    slow, fast = (TemporalEnsemble(BODY, decay=0.0, window=4, hz=hz) for hz in (0.0, 40.0))
    for execution in (slow, fast):
        execution.accept(plan([[0, 0.4, 0], [2, 0.4, 0], [4, 0.4, 0]]))
        execution.accept(plan([[4, 0.8, 0], [6, 0.8, 0]], tick=1))
    assert slow.row(1 / HZ)[:2] == pytest.approx([3, 0.6])
    assert fast.row(1.5 / HZ)[:2] == pytest.approx([4, 0.3])  # half a row: half the step


def test_numbers_out_of_range_are_refused():
    for config, bad in ((AdaptiveConfig, {"alpha": -1}), (TrainedRtcConfig, {"most": -1})):
        with pytest.raises(ConfigError, match="out of range"):
            config(**bad)
    with pytest.raises(ConfigError, match=r"execution\.rows"):
        EXECUTIONS["crossfade"](rows=-1)
    with pytest.raises(ConfigError, match=r"execution\.window"):
        EXECUTIONS["ensemble"](window=0)
    with pytest.raises(ConfigError, match=r"execution\.decay"):
        EXECUTIONS["bidirectional"](decay=0.0)
