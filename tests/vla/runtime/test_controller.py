"""Chunk execution: rows by time, plans anew in time, bounded commands, history, seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.contract import Controller
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError, ContractError, ShapeError, UnknownChoice
from vla.runtime.config import ControlConfig
from vla.runtime.controller import chunk_seed, stack_history
from vla.types import ActionChunk, Observation

HZ = 20.0
BODY = Embodiment(
    name="toy",
    state=(Axis(name="grip", unit="1", low=0, high=1),),
    action=(
        Axis(name="dx", unit="m", low=-1000, high=1000, mode="delta"),
        Axis(name="grip", unit="1", low=0, high=1),
    ),
    cameras={"front": Camera(height=2, width=2)},
    hz=HZ,
)


class Counting:
    """Row k of plan n is (100 n + k, 0.5); remembers what it was asked."""

    def __init__(self, *, horizon=6, history=1, embodiment=BODY, rows=None):
        self.embodiment, self.history, self.horizon = embodiment, history, horizon
        self.rows, self.asked, self.seeds = rows, [], []

    def act(self, observations, *, seeds):
        chunks = []
        for observation, seed in zip(observations, seeds, strict=True):
            rows = np.full((self.horizon, 2), 0.5, np.float32)
            rows[:, 0] = 100 * len(self.asked) + np.arange(self.horizon)
            rows = rows if self.rows is None else np.array(self.rows, np.float32)
            self.asked.append(observation)
            self.seeds.append(seed)
            chunks.append(ActionChunk(actions=rows, time=observation.time))
        return chunks


def observe(time, grip=0.5, value=0):
    return Observation(
        images={"front": np.full((1, 2, 2, 3), value, np.uint8)},
        state=np.array([[grip]], np.float32),
        instruction="go",
        time=time,
    )


def drive(policy, times, **options):
    controller = ControlConfig(**options).build(policy)
    controller.reset(seed=3)
    return controller, [controller(observe(t)) for t in times]


def test_satisfies_the_contract():
    assert isinstance(ControlConfig().build(Counting()), Controller)


def test_plans_anew_after_execute_rows():
    _, actions = drive(Counting(), np.arange(7) / HZ, execute=3)
    assert [a[0] for a in actions] == [0, 1, 2, 100, 101, 102, 200]
    assert all(a.dtype == np.float32 for a in actions)


def test_a_short_plan_runs_to_its_end():
    _, actions = drive(Counting(horizon=2), np.arange(5) / HZ, execute=8)
    assert [a[0] for a in actions] == [0, 1, 100, 101, 200]


def test_a_missed_slot_drops_its_row():
    _, actions = drive(Counting(), np.array([0, 1, 3, 4, 9, 10]) / HZ, execute=6)
    assert [a[0] for a in actions] == [0, 1, 3, 4, 100, 101]


@given(jitter=st.lists(st.floats(-0.24, 0.24), min_size=6, max_size=6), start=st.floats(0, 1e6))
def test_rows_survive_jitter_of_the_clock(jitter, start):
    """Half a slot is the limit for plan and tick together; a quarter each is safe."""
    times = start + (np.arange(6) + np.array(jitter)) / HZ
    _, actions = drive(Counting(), times, execute=6)
    assert [a[0] for a in actions] == [0, 1, 2, 3, 4, 5]


def test_time_that_runs_backwards_is_refused():
    controller, _ = drive(Counting(), [5.0])
    with pytest.raises(ContractError, match="backwards"):
        controller(observe(4.0))
    controller.reset(seed=0)
    assert controller(observe(4.0)).shape == (2,)


def test_history_is_padded_with_the_first_and_forgotten_at_reset():
    policy = Counting(history=3)
    controller = ControlConfig(execute=1).build(policy)
    for value in (1, 2, 3, 4):
        controller(observe(value / HZ, grip=value / 10, value=value))
    seen = [list(o.images["front"][:, 0, 0, 0]) for o in policy.asked]
    assert seen == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
    np.testing.assert_allclose(policy.asked[2].state[:, 0], [0.1, 0.2, 0.3])
    assert policy.asked[2].time == 3 / HZ
    controller.reset(seed=0)
    controller(observe(9.0, value=7))
    assert list(policy.asked[-1].images["front"][:, 0, 0, 0]) == [7, 7, 7]


def test_stack_history_rejects_nothing_for_one_step():
    one = observe(1.0)
    assert stack_history([observe(0.0), one], steps=1) is one


def test_seeds_differ_by_plan_and_repeat_by_episode():
    first, second, other = Counting(), Counting(), Counting()
    drive(first, np.arange(12) / HZ, execute=3)
    drive(second, np.arange(12) / HZ, execute=3)
    controller = ControlConfig(execute=3).build(other)
    controller.reset(seed=4)
    controller(observe(0.0))
    assert first.seeds == second.seeds
    assert len(set(first.seeds)) == 4
    assert other.seeds[0] != first.seeds[0]
    assert all(0 <= seed < 2**63 for seed in first.seeds)
    assert chunk_seed(3, 1) == first.seeds[1]


def test_clips_into_the_axis_bounds():
    _, actions = drive(Counting(rows=[[5000, 3], [-5000, -3]]), [0, 0.05])
    np.testing.assert_array_equal(actions, [[1000, 1], [-1000, 0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_leaves_untouched(bad):
    """Clipping would make an infinity legal; the worlds and the gate must see it."""
    _, actions = drive(Counting(rows=[[bad, 3]]), [0.0], rate_limits={"dx": 1.0})
    np.testing.assert_array_equal(actions[0], np.array([bad, 3], np.float32))


def test_rate_limit_starts_at_rest_and_at_the_measured_state():
    rows = [[100, 1]] * 4
    _, actions = drive(Counting(rows=rows), [0, 0.05, 0.15], rate_limits={"dx": 20, "grip": 2})
    np.testing.assert_allclose(actions, [[1, 0.6], [2, 0.7], [4, 0.9]], rtol=1e-6)


def test_refuses_what_it_cannot_drive():
    relative = Embodiment(
        name="r",
        state=(),
        action=(Axis(name="x", unit="m", low=-1, high=1, mode="relative"),),
        cameras={},
        hz=HZ,
    )
    with pytest.raises(ContractError, match="relative"):
        ControlConfig().build(Counting(embodiment=relative))
    with pytest.raises(UnknownChoice, match="dx"):
        ControlConfig(rate_limits={"dxx": 1.0}).build(Counting())
    with pytest.raises(ConfigError, match="execute"):
        ControlConfig(execute=0)
    with pytest.raises(ConfigError, match="positive"):
        ControlConfig(rate_limits={"dx": float("nan")})
    with pytest.raises(UnknownChoice, match="sync"):
        ControlConfig(kind="snyc")


def test_refuses_foreign_shapes():
    controller = ControlConfig().build(Counting(rows=[[1, 2, 3]]))
    with pytest.raises(ShapeError, match="3 axes"):
        controller(observe(0.0))
    two = stack_history([observe(0.0), observe(0.1)], steps=2)
    with pytest.raises(ShapeError, match="one observation step"):
        ControlConfig().build(Counting())(two)
