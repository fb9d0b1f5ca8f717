import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.data.windows import WindowSampler, WindowTable, pad_actions
from vla.embodiment import Axis
from vla.errors import DataError

lengths_strategy = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def _table(lengths, chosen=None):
    ends = np.cumsum(lengths)
    return WindowTable.build(ends, np.arange(len(lengths)) if chosen is None else chosen)


@given(lengths=lengths_strategy, steps=st.integers(1, 5), rows=st.integers(1, 15))
def test_windows_stay_in_their_episode_and_count_right(lengths, steps, rows):
    table = _table(lengths)
    assert len(table) == sum(lengths)
    everything = np.arange(len(table))
    past, (future, real) = table.history(everything, steps), table.future(everything, rows)
    frame_episode = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    for window, present in enumerate(table.present):
        episode = frame_episode[present]
        first, last = starts[episode], starts[episode] + lengths[episode] - 1
        assert table.episode[window] == episode
        wanted = [max(first, present - back) for back in range(steps - 1, -1, -1)]
        assert past[window].tolist() == wanted
        assert future[window].tolist() == [min(last, present + k) for k in range(rows)]
        assert real[window].tolist() == [present + k <= last for k in range(rows)]


def test_only_the_chosen_episodes_take_part():
    table = _table([3, 2, 4], chosen=np.array([2, 0]))
    assert table.present.tolist() == [5, 6, 7, 8, 0, 1, 2]
    assert table.episode.tolist() == [2] * 4 + [0] * 3


def test_no_episodes():
    with pytest.raises(DataError, match="No episodes"):
        _table([3], chosen=np.array([], np.int64))


def test_padding_stops_delta_axes_and_holds_the_others():
    axes = tuple(
        Axis(name=mode, unit="m", low=-9, high=9, mode=mode)
        for mode in ("delta", "absolute", "relative")
    )
    action = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3)
    real = np.array([[True, True, False]])
    pad_actions(action, real, axes)
    assert action[0].tolist() == [[1, 2, 3], [4, 5, 6], [0, 8, 9]]


@given(windows=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_every_epoch_draws_each_window_once(windows, batch, seed):
    sampler = WindowSampler(windows, batch, seed)
    steps = -(-3 * windows // batch)
    draws = np.concatenate([sampler.draw(step) for step in range(steps)])
    for epoch in range(3):
        assert sorted(draws[epoch * windows : (epoch + 1) * windows]) == list(range(windows))


def test_a_step_does_not_depend_on_those_before():
    forward, fresh = WindowSampler(30, 7, seed=3), WindowSampler(30, 7, seed=3)
    run = [forward.draw(step) for step in range(20)]
    for step in (19, 4, 11):
        np.testing.assert_array_equal(fresh.draw(step), run[step])


def test_seeds_and_epochs_differ():
    one, other = WindowSampler(100, 100, seed=0), WindowSampler(100, 100, seed=1)
    assert one.draw(0).tolist() != other.draw(0).tolist()
    assert one.draw(0).tolist() != one.draw(1).tolist()
