"""Copies of stores: what changes, what must not, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla.data.copying import (
    Edit,
    copy_episodes,
    edit_store,
    merge_stores,
    split_store,
    trim_trajectory,
)
from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.types import Subtask


@pytest.fixture
def jpegs(tmp_path, embodiment, make_trajectory) -> TrajectoryStore:
    """Five episodes with JPEG images."""
    store = TrajectoryStore.create(tmp_path / "jpegs", embodiment=embodiment, provenance={"a": 1})
    store.append_many(make_trajectory(4 + seed, seed) for seed in range(5))
    return store


def payloads(store: TrajectoryStore, number: int) -> list[bytes]:
    stop = int(store.episode_ends[number])
    start = stop - store.records[number].length
    cameras = store.embodiment.cameras
    return [store.read_payload(name, frame) for name in cameras for frame in range(start, stop)]


def test_a_copy_is_equal_bit_for_bit(jpegs, store, tmp_path):
    for number, source in enumerate((jpegs, store)):
        picks = [(source, index) for index in range(source.num_episodes)]
        copied = copy_episodes(picks, tmp_path / str(number), provenance={"why": "test"})
        assert copied.hash == source.hash
        assert [payloads(copied, i) for _, i in picks] == [payloads(source, i) for _, i in picks]
        assert copied.provenance["why"] == "test"
        assert copied.provenance["from"][0]["hash"] == source.hash
        copied.verify()


def test_edit_drops_renames_and_trims(jpegs, tmp_path):
    edit = Edit(drop=[0], instruction={"task 1": "do it"}, trim={2: (1, 4)})
    edited = edit_store(jpegs, tmp_path / "out", edit)
    assert [r.length for r in edited.records] == [5, 3, 7, 8]
    assert edited.instructions == ["do it", "task 2", "task 0", "do it"]
    old, new = jpegs.episode(2), edited.episode(1)
    np.testing.assert_array_equal(new.state, old.state[1:4])
    np.testing.assert_array_equal(new.images["wrist"], old.images["wrist"][1:4])
    np.testing.assert_allclose(new.time, [0, 0.1, 0.2])
    assert new.source == {"seed": 2, "steps": [1, 4]}
    assert edited.records[2].uid == jpegs.records[3].uid  # untouched
    assert edited.provenance["changes"]["trim"] == {"2": [1, 4]}
    assert jpegs.num_episodes == 5


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Edit(drop=[5]), r"\[5\] do not exist.*0 to 4"),
        (Edit(drop=[1], trim={1: (0, 2)}), "dropped and trimmed"),
        (Edit(drop=range(5)), "No episode would be left"),
        (Edit(instruction={"tusk": "x"}), "'tusk'.*'task 0'"),
        (Edit(trim={0: (0, 9)}), "Episode 0 has 4 steps; trim ends at 9"),
    ],
)
def test_edit_refuses_what_does_not_apply(jpegs, tmp_path, edit, words):
    with pytest.raises(DataError, match=words):
        edit_store(jpegs, tmp_path / "out", edit)
    assert not (tmp_path / "out").exists()


def test_split_follows_the_rule_of_training(jpegs, tmp_path):
    calls = []
    sides = split_store(jpegs, tmp_path / "out", 0.4, progress=lambda *done: calls.append(done))
    uids = np.array([record.uid for record in jpegs.records])
    for name, side in sides.items():
        assert [r.uid for r in side.records] == uids[jpegs.split(name, 0.4)].tolist()
    assert sum(side.num_episodes for side in sides.values()) == 5
    assert calls == [(n, 5) for n in range(1, 6)]
    with pytest.raises(DataError, match=r"out/train exists"):
        split_store(jpegs, tmp_path / "out", 0.4)
    assert merge_stores(list(sides.values()), tmp_path / "both")[0].num_episodes == 5


def test_split_needs_two_different_episodes(tmp_path, embodiment, make_trajectory):
    one = TrajectoryStore.create(tmp_path / "one", embodiment=embodiment, provenance={})
    one.append(make_trajectory(4, 0))
    with pytest.raises(DataError, match="would be empty"):
        split_store(one, tmp_path / "out", 0.1)


def test_merge_takes_equal_episodes_once(jpegs, tmp_path, embodiment, make_trajectory):
    other = TrajectoryStore.create(tmp_path / "other", embodiment=embodiment, provenance={})
    other.append_many([make_trajectory(9, 7), make_trajectory(6, 2)])
    merged, repeated = merge_stores([jpegs, other], tmp_path / "out")
    assert [(store.path.name, number) for store, number in repeated] == [("other", 1)]
    assert [r.uid for r in merged.records] == [
        *(r.uid for r in jpegs.records),
        other.records[0].uid,
    ]


def test_merge_refuses_other_bodies_and_codecs(jpegs, store, tmp_path, embodiment):
    with pytest.raises(DataError, match=r"'jpeg'.*'zstd'"):
        merge_stores([jpegs, store], tmp_path / "out")
    fewer = Embodiment.from_json({**embodiment.to_json(), "hz": 20})
    other = TrajectoryStore.create(tmp_path / "other", embodiment=fewer, provenance={})
    with pytest.raises(DataError, match=r"another body(.|\n)*hz(.|\n)*data=mixture"):
        merge_stores([jpegs, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_copy_needs_an_episode_and_a_free_place(jpegs, tmp_path):
    with pytest.raises(DataError, match="no episode to copy"):
        copy_episodes([], tmp_path / "out", provenance={})
    with pytest.raises(DataError, match="exists"):
        copy_episodes([(jpegs, 0)], jpegs.path, provenance={})


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the fixture is a function
)
@given(data=st.data())
def test_trimming_cuts_everything_alike(data, make_trajectory):
    length = data.draw(st.integers(1, 9))
    first = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(first + 1, length))
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    whole = make_trajectory(length, 0)
    whole = replace(
        whole,
        sent=whole.action * 2,
        captured={"front": whole.time - 0.01},
        depth={"front": np.arange(length * 4, dtype=np.uint16).reshape(length, 2, 2)},
        subtasks=(Subtask(start=start, stop=end, text="part"),),
    )
    part = trim_trajectory(whole, first, stop)
    assert len(part) == stop - first
    assert part.time[0] == 0
    np.testing.assert_array_equal(part.sent, part.action * 2)
    np.testing.assert_allclose(part.captured["front"], part.time - 0.01)
    np.testing.assert_array_equal(part.depth["front"][0], whole.depth["front"][first])
    assert part.labels["target"].shape == (stop - first, 2)
    # The words still cover exactly the steps that they covered before.
    covered = set(range(start, end)) & set(range(first, stop))
    kept = {first + step for task in part.subtasks for step in range(task.start, task.stop)}
    assert kept == covered
