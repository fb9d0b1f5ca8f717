import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.data.splits import split_episodes
from vla.errors import DataError, UnknownChoice

UIDS = [f"{n:032x}" for n in range(1000)]


@given(st.lists(st.sampled_from(UIDS), max_size=40), st.floats(0, 0.99))
def test_sides_are_a_partition_and_twins_stay_together(uids, held_out):
    train = split_episodes(uids, "train", held_out).tolist()
    aside = split_episodes(uids, "held_out", held_out).tolist()
    assert sorted(train + aside) == split_episodes(uids, "all", held_out).tolist()
    assert not {uids[n] for n in train} & {uids[n] for n in aside}
    if held_out > 0 and len(set(uids)) > 1:
        assert train
        assert aside


def test_the_side_survives_appending():
    before = split_episodes(UIDS[:500], "held_out", 0.1)
    after = split_episodes(UIDS, "held_out", 0.1)
    np.testing.assert_array_equal(before, after[after < 500])


def test_the_share_is_about_right():
    assert 70 < len(split_episodes(UIDS, "held_out", 0.1)) < 130
    assert len(split_episodes(UIDS, "held_out", 0.0)) == 0


def test_mistakes():
    with pytest.raises(UnknownChoice, match="held_out"):
        split_episodes(UIDS, "heldout", 0.1)
    with pytest.raises(DataError, match=r"1\.0"):
        split_episodes(UIDS, "train", 1.0)
