"""Planning that takes time on a simulated clock, with the controllers of the robot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vla.runtime.chunk_fakes import BODY, HZ, Drawing, observe
from vla.contract import Controller
from vla.errors import ConfigError, ShapeError
from vla.runtime.config import AsyncControlConfig, ControlConfig, LatencyConfig
from vla.runtime.execution_config import EXECUTIONS
from vla.types import Observation

KINDS = sorted(EXECUTIONS)


def fly(config, policy=None, *, ticks=24, seed=3):
    """The controller, its actions (ticks, A) and holding flags; the state stays 0."""
    controller = config.build(policy or Drawing())
    controller.reset(seed=seed)
    actions, holds = [], []
    for tick in range(ticks):
        actions.append(controller(observe(tick)))
        holds.append(getattr(controller, "holding", False))
    return controller, np.array(actions), np.array(holds)


def late(seconds, kind="newest", jitter=0.0, drop=0.0, **options):
    return AsyncControlConfig(
        execution=EXECUTIONS[kind](),
        latency=LatencyConfig(seconds=seconds, jitter=jitter, drop=drop),
        stale=2.0,
        **options,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_without_latency_and_with_one_row_every_method_is_sync(kind):
    _, reference, _ = fly(ControlConfig(execute=1), Drawing(horizon=1))
    execution = EXECUTIONS[kind]()
    _, sync, _ = fly(ControlConfig(execute=1, execution=execution), Drawing(horizon=1))
    _, asynchronous, _ = fly(late(0.0, kind), Drawing(horizon=1))
    np.testing.assert_array_equal(sync, reference)
    np.testing.assert_array_equal(asynchronous, reference)


def test_without_latency_async_is_sync_for_longer_plans_too():
    _, reference, _ = fly(ControlConfig(execute=4))
    _, asynchronous, _ = fly(late(0.0, execute=4))
    np.testing.assert_array_equal(asynchronous, reference)


@pytest.mark.parametrize("kind", ["rtc", "rtc_trained"])
def test_without_delay_nothing_is_committed(kind):
    inner = Drawing()
    _, plain, _ = fly(late(0.0, execute=4), Drawing())
    _, told, _ = fly(late(0.0, kind, execute=4), inner)
    assert all(o.pending is None for o in inner.asked)
    np.testing.assert_array_equal(told, plain)  # this policy ignores tentative rows
    assert (inner.asked[1].tentative is not None) == (kind == "rtc")


@given(seconds=st.floats(0.0, 0.3), execute=st.integers(1, 6), seed=st.integers(0, 9))
@settings(max_examples=25)
def test_committed_rows_are_what_is_sent_until_the_plan_is_there(seconds, execute, seed):
    """With a steady delay the seams of real-time chunking do not show: pending rows come back."""
    inner = Drawing(horizon=16)
    controller, actions, holds = fly(late(seconds, "rtc", execute=execute), inner, seed=seed)
    assert not holds[int(np.ceil(seconds * HZ)) :].any()
    assert controller.chunk_index >= 1
    delay = max(int(np.ceil(seconds * HZ - 1e-4)), 0)
    for observation in inner.asked[1:]:
        tick = round(observation.time * HZ)
        pending = observation.pending if delay else np.zeros((0, 3))
        assert len(pending) == delay
        for row, sent in zip(pending, actions[tick:], strict=False):
            np.testing.assert_allclose(row, sent, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_flights(kind):
    config = late(0.08, kind, jitter=0.06, drop=0.2)
    runs = [fly(config, seed=seed)[1] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    controller = config.build(Drawing())
    for _ in range(2):  # a reset leaves nothing behind
        controller.reset(seed=3)
        again = np.array([controller(observe(tick)) for tick in range(24)])
        np.testing.assert_array_equal(again, runs[0])


def test_a_plan_is_used_when_it_is_there_from_the_row_that_is_due_then():
    policy = Drawing(horizon=16)
    _, actions, holds = fly(late(0.2), policy, ticks=10)
    assert holds.tolist() == [True] * 4 + [False] * 6
    first = Drawing(horizon=16).act([observe(0)], seeds=policy.seeds[:1])[0].actions
    np.testing.assert_allclose(actions[4:8], first[4:8], atol=1e-6)
    assert [round(o.time * HZ) for o in policy.asked] == [0, 4, 8]


def test_sync_stops_while_it_plans_and_loses_no_row():
    config = ControlConfig(execute=3, latency=LatencyConfig(seconds=0.1))
    policy = Drawing()
    controller, actions, holds = fly(config, policy, ticks=10)
    assert isinstance(controller, Controller)
    assert holds.tolist() == [True, True, False, False, False] * 2
    assert controller.row == 2
    assert controller.chunk_index == 1
    stood = np.array([0, 0, 0], np.float32)
    np.testing.assert_array_equal(actions[:2], [stood, stood])
    np.testing.assert_array_equal(actions[5:7, 1], [0, 0])  # a delta axis: no more steps
    np.testing.assert_array_equal(actions[5:7, 0], actions[[4, 4], 0])  # a position: keep it
    without = fly(ControlConfig(execute=3), Drawing(), ticks=3)[1]
    assert not np.array_equal(actions[2:5], without)  # drawn for another time; only as many rows
    assert len(policy.asked) == 2


def test_lost_plans_cost_time():
    late_sync = ControlConfig(execute=3, latency=LatencyConfig(seconds=0.05, drop=0.6))
    sound = ControlConfig(execute=3, latency=LatencyConfig(seconds=0.05))
    assert fly(late_sync, ticks=60)[2].sum() > fly(sound, ticks=60)[2].sum()
    lossy, clean = (late(0.1, drop=drop) for drop in (0.6, 0.0))
    assert fly(lossy, ticks=60)[0].chunk_index < fly(clean, ticks=60)[0].chunk_index


def test_stale_plans_are_a_hold_as_on_the_robot():
    config = AsyncControlConfig(latency=LatencyConfig(seconds=0.3), stale=0.25)
    _, _, holds = fly(config, Drawing(horizon=30), ticks=40)
    assert holds[:6].all()
    assert 0 < holds[6:].sum() < 34


def test_what_makes_no_sense_is_refused():
    for bad in ({"seconds": -1}, {"jitter": float("nan")}, {"drop": 1.0}):
        with pytest.raises(ConfigError, match=r"control\.latency"):
            LatencyConfig(**bad)
    with pytest.raises(ConfigError, match=r"control\.hz"):
        AsyncControlConfig(hz=100.0).build(Drawing())
    with pytest.raises(ConfigError, match=r"control\.execute"):
        AsyncControlConfig(execute=5).build(Drawing())
    with pytest.raises(ConfigError, match="delay_window"):
        AsyncControlConfig(delay_window=0)
    two = Observation(images={}, state=np.zeros((2, 1), np.float32), instruction="", time=0.0)
    with pytest.raises(ShapeError, match="one observation step"):
        AsyncControlConfig().build(Drawing(embodiment=BODY))(two)
