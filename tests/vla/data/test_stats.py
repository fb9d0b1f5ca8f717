import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vla.data.stats import (
    FIELDS,
    Statistics,
    compute_statistics,
    pair_axes,
    pool_relative_statistics,
    summarize,
)
from vla.data.store import TrajectoryStore
from vla.data.window_reader import WindowReader
from vla.embodiment import Axis
from vla.errors import StatisticsError


def test_equal_numpy_on_the_concatenated_episodes(store, make_trajectory):
    chosen = [0, 2, 4]
    lengths = {0: 5, 2: 9, 4: 7}
    statistics = compute_statistics(store, chosen)
    for what in ("state", "action"):
        parts = [getattr(make_trajectory(lengths[n], n), what) for n in chosen]
        table, got = np.concatenate(parts).astype(np.float64), getattr(statistics, what)
        assert got.count == 21
        np.testing.assert_allclose(got.mean, table.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(got.std, table.std(axis=0), rtol=1e-13)
        np.testing.assert_array_equal(got.min, table.min(axis=0))
        np.testing.assert_array_equal(got.max, table.max(axis=0))
        np.testing.assert_array_equal(got.q01, np.quantile(table, 0.01, axis=0))
        np.testing.assert_array_equal(got.q99, np.quantile(table, 0.99, axis=0))
    assert statistics.action.names == ("dx", "gripper")


@given(
    values=hnp.arrays(
        np.float32, (37, 2), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
    ),
    order=st.permutations(range(37)),
)
def test_order_does_not_matter_to_the_last_bit(values, order):
    one, other = summarize(values, ("a", "b")), summarize(values[order], ("a", "b"))
    for key in FIELDS:
        assert getattr(one, key).tobytes() == getattr(other, key).tobytes()


def test_episode_order_does_not_matter(store):
    one, other = compute_statistics(store, [0, 2, 4]), compute_statistics(store, [4, 0, 2])
    assert one.to_json() == other.to_json()


def test_two_per_cent_lie_outside_the_quantiles():
    values = np.random.default_rng(0).normal(size=(20000, 1)).astype(np.float32)
    got = summarize(values, ("a",))
    outside = (values < got.q01) | (values > got.q99)
    assert abs(outside.mean() - 0.02) < 2e-4


def test_source_names_the_episodes_used(store):
    assert compute_statistics(store, [0, 1]).source == compute_statistics(store, [1, 0]).source
    assert compute_statistics(store, [0, 1]).source != compute_statistics(store, [0]).source


def test_source_survives_appending_elsewhere(store, make_trajectory):
    before = compute_statistics(store, [0, 1]).source
    store.append(make_trajectory(3, 9))
    assert compute_statistics(store, [0, 1]).source == before


def test_json_keeps_every_bit(store):
    statistics = compute_statistics(store, store.split("all"))
    again = Statistics.from_json(json.loads(json.dumps(statistics.to_json())))
    for what in ("state", "action"):
        for key in FIELDS:
            one, other = getattr(statistics, what), getattr(again, what)
            assert getattr(one, key).tobytes() == getattr(other, key).tobytes()
    assert again.source == statistics.source


@pytest.mark.parametrize("damage", [{}, {"state": {}}, {"state": {"names": ["a"], "count": 1}}])
def test_damaged_json(store, damage):
    value = compute_statistics(store, [0]).to_json()
    with pytest.raises(StatisticsError):
        Statistics.from_json({**value, **damage} if damage else {})


def test_degenerate_axes_are_named(tmp_path, embodiment, make_trajectory):
    store = TrajectoryStore.create(tmp_path / "s", embodiment=embodiment, provenance={})
    still = make_trajectory(300, 0)
    still.state[:, 2] = 0.5  # std == 0
    still.action[:, 1] = 0  # q01 == q99, yet std > 0
    still.action[7, 1] = 1
    store.append(still)
    statistics = compute_statistics(store, [0])
    with pytest.raises(StatisticsError, match=r"state axis 'q2', action axis 'gripper'") as caught:
        statistics.require_usable()
    assert "'q0'" not in str(caught.value)
    assert "'dx'" not in str(caught.value)


def test_usable_statistics_pass(store):
    compute_statistics(store, store.split("all")).require_usable()


def test_no_episodes(store):
    with pytest.raises(StatisticsError, match="no episodes"):
        compute_statistics(store, [])


@pytest.fixture
def reaching(tmp_path, embodiment, make_trajectory):
    """A store whose actions are where q2 and q0 shall be, and a delta; one episode is a film."""
    action = (
        Axis(name="q2", unit="rad", low=-4, high=4),
        Axis(name="dx", unit="m", low=-2, high=2, mode="delta"),
        Axis(name="q0", unit="rad", low=-4, high=4),
    )
    body = replace(embodiment, action=action)
    store = TrajectoryStore.create(tmp_path / "reaching", embodiment=body, provenance={})
    for seed, length in enumerate((5, 1, 9, 4)):
        plan = np.random.default_rng(seed).uniform(-1, 1, (length, 3)).astype(np.float32)
        store.append(make_trajectory(length, seed, action=None if seed == 3 else plan))
    return store


def test_only_absolute_axes_of_one_name_and_unit_pair_up(reaching, embodiment):
    assert pair_axes(reaching.embodiment) == {0: 2, 2: 0}
    assert pair_axes(embodiment) == {}
    metres, still = replace(reaching.embodiment.action[0], unit="m"), embodiment.state
    assert pair_axes(replace(embodiment, action=(metres,))) == {}
    speed = (replace(still[2], mode="delta"),)
    assert pair_axes(replace(reaching.embodiment, state=speed)) == {}


@pytest.mark.parametrize("horizon", [1, 4, 30])
def test_relative_statistics_are_those_of_all_training_windows(reaching, horizon):
    chosen = np.array([0, 1, 2, 3])
    reader = WindowReader(reaching, history=1, horizon=horizon, episodes=chosen, cameras=[])
    windows = reader.read(np.arange(len(reader)))
    got = pool_relative_statistics([(reaching, chosen)], horizon)
    assert got.relative == ("q2", "q0")
    assert got.horizon == horizon
    plain = compute_statistics(reaching, chosen)
    for axis, partner in ((0, 2), (2, 0)):
        gaps = windows.actions[:, :, axis].double() - windows.state[:, -1, partner, None].double()
        table = gaps[windows.mask[:, :, axis] > 0].numpy()
        want = summarize(table[:, None], ("x",))
        for key in FIELDS:
            assert getattr(got.action, key)[axis] == getattr(want, key)[0], key
            assert getattr(got.action, key)[1] == getattr(plain.action, key)[1], key
            np.testing.assert_array_equal(getattr(got.state, key), getattr(plain.state, key))


def test_relative_statistics_know_their_data_and_horizon(reaching):
    def take(order, horizon=4):
        return pool_relative_statistics([(reaching, order)], horizon)

    assert take([0, 1, 2]).to_json() == take([2, 0, 1]).to_json()
    plain = compute_statistics(reaching, [0, 1, 2])
    sources = {take([0, 1, 2]).source, take([0, 1, 2], 5).source, take([0, 2]).source, plain.source}
    assert len(sources) == 4
    again = Statistics.from_json(json.loads(json.dumps(take([0, 2]).to_json())))
    assert (again.relative, again.horizon) == (("q2", "q0"), 4)
    with pytest.raises(StatisticsError, match="at least 1"):
        take([0], 0)


def test_statistics_of_before_there_were_relative_ones_are_absolute(store):
    value = compute_statistics(store, [0, 2]).to_json()
    del value["relative"], value["horizon"]
    assert Statistics.from_json(value).relative == ()
