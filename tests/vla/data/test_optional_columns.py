"""Depth, capture times, sent commands, subtasks and films without actions."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vla.data.loader import WindowLoader
from vla.data.manifest import Manifest
from vla.data.stats import compute_statistics
from vla.data.store import TrajectoryStore
from vla.errors import DataError, StatisticsError, UnknownChoice
from vla.types import Subtask


def full(make_trajectory, length, seed, **changes):
    """An episode with everything."""
    rng = np.random.default_rng(seed)
    extra = {
        "sent": rng.uniform(0, 1, (length, 2)).astype(np.float32),
        "captured": {"front": np.arange(length) // 2 / 5 - 0.01},
        "depth": {"front": rng.integers(0, 2**16, (length, 4, 6), np.uint16)},
        "subtasks": (
            Subtask(start=0, stop=1, text="reach für", success=True),
            Subtask(start=np.int64(0), stop=length, text="all of it"),
        ),
    }
    return make_trajectory(length, seed, **{**extra, **changes})


@pytest.fixture
def rich(tmp_path, embodiment, make_trajectory):
    store = TrajectoryStore.create(
        tmp_path / "rich", embodiment=embodiment, provenance={}, codec="zstd"
    )
    store.append_many([full(make_trajectory, 4, 0), full(make_trajectory, 3, 1, action=None)])
    store.append(full(make_trajectory, 5, 2, subtasks=()))
    return TrajectoryStore.open(store.path)


def test_everything_comes_back(rich, make_trajectory):
    wanted = [
        full(make_trajectory, 4, 0),
        full(make_trajectory, 3, 1, action=None),
        full(make_trajectory, 5, 2, subtasks=()),
    ]
    for index, episode in enumerate(wanted):
        got = rich.episode(index)
        np.testing.assert_array_equal(got.sent, episode.sent)
        np.testing.assert_array_equal(got.captured["front"], episode.captured["front"])
        np.testing.assert_array_equal(got.depth["front"], episode.depth["front"])
        assert got.depth["front"].dtype == np.uint16
        assert got.subtasks == episode.subtasks
        assert list(got.labels) == ["target"]
        if episode.action is None:
            assert got.action is None
        else:
            np.testing.assert_array_equal(got.action, episode.action)
    assert rich.optional == {
        "labels/target": (2,), "sent": (2,), "captured/front": (), "depth/front": (4, 6),
    }  # fmt: skip
    assert rich.has_action.tolist() == [True, False, True]
    rich.verify()


def test_depth_in_the_order_asked_for(rich):
    everything = rich.read_depth("front", np.arange(12))
    order = np.array([11, 0, 5, 5])
    out = np.empty((4, 4, 6), np.uint16)
    assert rich.read_depth("front", order, out) is out
    np.testing.assert_array_equal(out, everything[order])
    with pytest.raises(UnknownChoice, match="depth/front"):
        rich.read_depth("wrist", order)
    with pytest.raises(UnknownChoice, match="captured/front"):
        rich.column("depth/front")


def test_plain_zarr_reads_the_same(rich):
    import zarr

    segment = min((rich.path / "segments").iterdir())
    group = zarr.open_group(segment, mode="r")
    depth = group["depth/front"]
    assert (depth.dtype, depth.chunks, depth.shards) == (np.uint16, (1, 4, 6), (7, 4, 6))
    np.testing.assert_array_equal(depth[:], rich.read_depth("front", np.arange(7)))
    np.testing.assert_array_equal(group["images/front"][:], rich.read_frames("front", np.arange(7)))
    for key in ("sent", "captured/front", "action"):
        np.testing.assert_array_equal(group[f"data/{key}"][:], rich.column(key)[:7])
    assert not group["data/action"][4:].any()
    records = group.attrs["episodes"]
    assert [record["has_action"] for record in records] == [True, False]
    assert records[0]["subtasks"][1] == {
        "start": 0, "stop": 4, "text": "all of it", "success": None,
    }  # fmt: skip


def test_each_part_counts_towards_the_uid(rich, make_trajectory):
    base = full(make_trajectory, 4, 0)
    depth = base.depth["front"].copy()
    depth[2, 1, 3] ^= 1
    changed = [
        base,
        replace(base, action=None),
        replace(base, action=np.zeros_like(base.action)),
        replace(base, sent=base.sent / 2),
        replace(base, captured={"front": base.captured["front"] + 1}),
        replace(base, depth={"front": depth}),
        replace(base, subtasks=base.subtasks[:1]),
        replace(base, subtasks=()),
    ]
    uids = rich.append_many(changed)
    assert uids[0] == rich.records[0].uid
    assert len(set(uids)) == len(uids)


def test_an_episode_without_extras_has_the_uid_it_always_had(tmp_path, embodiment):
    """Splits and statistics of stores written before hang on it."""
    from vla.types import Trajectory

    plain = Trajectory(
        images={
            "front": np.zeros((2, 16, 24, 3), np.uint8),
            "wrist": np.zeros((2, 8, 8, 3), np.uint8),
        },
        state=np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
        action=np.full((2, 2), 0.5, np.float32),
        instruction="go",
        time=np.arange(2) / 10,
        success=True,
    )
    store = TrajectoryStore.create(
        tmp_path / "s", embodiment=embodiment, provenance={}, codec="zstd"
    )
    assert store.append(plain) == "16794b2a68164f8bf20738c51154492d"


def test_manifests_with_labels_alone_still_open(store):
    path = store.path / "manifest.json"
    value = json.loads(path.read_text())
    del value["optional"]
    value["labels"] = {"target": 2}
    for segment in value["segments"]:
        for episode in segment["episodes"]:
            del episode["has_action"], episode["subtasks"]
    path.write_text(json.dumps(value))
    old = TrajectoryStore.open(store.path)
    assert (old.hash, old.labels) == (store.hash, {"target": 2})
    assert old.has_action.all()
    assert Manifest.read(store.path) == Manifest.load(store._storage)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {"sent": None}, ["optional", "'sent'"]),
        (lambda t: {"depth": {}}, ["optional", "depth/front"]),
        (lambda t: {"depth": {"front": t.depth["front"][:, :2]}}, ["(2, 6)", "(4, 6)"]),
        (lambda t: {"depth": {"side": t.depth["front"]}}, ["side", "front"]),
        (lambda t: {"captured": {"side": t.time}}, ["captured", "side"]),
        (lambda t: {"captured": {"front": t.time[::-1].copy()}}, ["captured", "decrease"]),
        (lambda t: {"sent": t.sent * np.float32(np.nan)}, ["sent", "nan"]),
        (lambda t: {"sent": t.sent[:, :1]}, ["sent", "gripper"]),
        (
            lambda t: {"subtasks": (Subtask(start=2, stop=3, text=""), *t.subtasks)},
            ["subtasks", "order"],
        ),
    ],
)
def test_what_does_not_fit_is_refused(rich, make_trajectory, change, words):
    good = full(make_trajectory, 4, 9)
    with pytest.raises(DataError) as caught:
        rich.append(replace(good, **change(good)))
    for word in ["Episode 3", *words]:
        assert word in str(caught.value)
    assert TrajectoryStore.open(rich.path).num_episodes == 3


def test_action_statistics_leave_films_out(rich):
    statistics = compute_statistics(rich, [0, 1, 2])
    assert (statistics.state.count, statistics.action.count) == (12, 9)
    assert statistics.action.min.min() > 0
    with pytest.raises(StatisticsError, match="none of the 1 episodes has actions"):
        compute_statistics(rich, [1])


def test_windows_of_films_have_mask_0(rich):
    loader = WindowLoader(
        rich, history=1, horizon=2, batch_size=1, seed=0, episodes=rich.split("all")
    )
    mask = loader.windows(np.arange(12)).mask
    assert not mask[4:7].any()
    assert mask[:3].all()
    assert mask[7:11].all()
