import json
import multiprocessing
import pickle

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla.data.codec import ZstdCodec
from vla.data.storage import LocalStorage
from vla.data.store import TrajectoryStore
from vla.errors import DataError, UnknownChoice

LENGTHS = [5, 1, 9, 4, 7, 2]


def test_episode_returns_what_was_appended(store, make_trajectory):
    for index, length in enumerate(LENGTHS):
        wanted, got = make_trajectory(length, index), store.episode(index)
        for camera, frames in wanted.images.items():
            np.testing.assert_array_equal(got.images[camera], frames)
        np.testing.assert_array_equal(got.state, wanted.state)
        np.testing.assert_array_equal(got.action, wanted.action)
        np.testing.assert_array_equal(got.time, wanted.time)
        np.testing.assert_array_equal(got.labels["target"], wanted.labels["target"])
        assert (got.instruction, got.success) == (wanted.instruction, wanted.success)
        assert got.source == {"seed": index}


def test_table_of_contents(store):
    assert store.num_episodes == 6
    assert store.num_frames == 28
    assert store.episode_ends.tolist() == [5, 6, 15, 19, 26, 28]
    assert store.instructions == ["task 0", "task 1", "task 2"] * 2
    assert store.labels == {"target": 2}
    assert len(list((store.path / "segments").iterdir())) == 3


def test_reopening_shows_the_same(store, embodiment):
    again = TrajectoryStore.open(str(store.path))
    assert again.embodiment == embodiment
    assert again.hash == store.hash
    assert again.provenance == {"by": "test"}
    np.testing.assert_array_equal(again.column("state"), store.column("state"))
    again.verify()


@pytest.mark.parametrize("codec", ["jpeg", "zstd"])
def test_plain_zarr_reads_the_same_as_the_fast_path(tmp_path, embodiment, make_trajectory, codec):
    import zarr

    store = TrajectoryStore.create(
        tmp_path / "s", embodiment=embodiment, provenance={}, codec=codec
    )
    store.append_many([make_trajectory(6, 0), make_trajectory(3, 1)])
    (segment,) = (store.path / "segments").iterdir()
    group = zarr.open_group(segment, mode="r")
    for camera in embodiment.cameras:
        fast = store.read_frames(camera, np.arange(9))
        np.testing.assert_array_equal(group[f"images/{camera}"][:], fast)
    for key in ("state", "action", "time", "labels/target"):
        np.testing.assert_array_equal(group[f"data/{key}"][:], store.column(key))
    assert group["episode_ends"][:].tolist() == [6, 9]
    assert [record["length"] for record in group.attrs["episodes"]] == [6, 3]


def test_constant_zero_columns_survive(tmp_path, embodiment, make_trajectory):
    store = TrajectoryStore.create(tmp_path / "s", embodiment=embodiment, provenance={})
    zeros = np.zeros((3, 2), np.float32)
    store.append(make_trajectory(3, 0, action=zeros))
    np.testing.assert_array_equal(TrajectoryStore.open(store.path).episode(0).action, zeros)


def test_jpeg_files_pass_through_unchanged(tmp_path, embodiment, make_trajectory):
    plain = make_trajectory(3, 0)
    files = {
        name: [simplejpeg.encode_jpeg(np.ascontiguousarray(f), quality=50) for f in frames]
        for name, frames in plain.images.items()
    }
    store = TrajectoryStore.create(tmp_path / "s", embodiment=embodiment, provenance={})
    store.append(make_trajectory(3, 0, images=files))
    for name, wanted in files.items():
        assert [store.read_payload(name, frame) for frame in range(3)] == wanted


def test_read_frames_keeps_the_order_asked_for(store):
    everything = store.read_frames("front", np.arange(28))
    order = np.array([27, 3, 3, 14, 0])
    np.testing.assert_array_equal(store.read_frames("front", order), everything[order])
    with pytest.raises(DataError, match="28"):
        store.read_frames("front", np.array([28]))
    with pytest.raises(UnknownChoice, match="front"):
        store.read_frames("fornt", np.array([0]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(st.integers(0, 27), min_size=1, max_size=40))
def test_any_frames_in_any_order(store, frames):
    everything = np.stack([store.read_frames("front", np.array([n]))[0] for n in range(28)])
    np.testing.assert_array_equal(
        store.read_frames("front", np.array(frames)), everything[np.array(frames)]
    )


def test_neighbours_are_read_at_once_and_repeats_decoded_once(store, monkeypatch):
    wanted = store.read_frames("front", np.arange(28))  # three segments; opens them
    reads, decodes = [], []
    read, decode = LocalStorage.read, ZstdCodec.decode
    monkeypatch.setattr(
        LocalStorage, "read", lambda *args: (reads.append(args[2:]), read(*args))[1]
    )
    monkeypatch.setattr(ZstdCodec, "decode", lambda *args: (decodes.append(1), decode(*args))[1])
    frames = np.array([16, 17, 3, 4, 0, 0, 5, 3, 15])
    np.testing.assert_array_equal(store.read_frames("front", frames), wanted[frames])
    assert len(reads) == 3  # 0; 3 to 5; 15 to 17 in the next segment
    assert len(decodes) == 7
    assert store.read_frames("front", np.array([], np.int64)).shape == (0, 16, 24, 3)


def _frame_sum(store, queue):
    queue.put(int(store.read_frames("front", np.arange(28)).sum()))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_read_before_works_in_another_process(store, method):
    wanted = int(store.read_frames("front", np.arange(28)).sum())  # opens the files here
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_frame_sum, args=(store, queue))
    process.start()
    assert queue.get(timeout=60) == wanted
    process.join()


def test_pickling_reopens(store):
    # Our own bytes: this is how a spawned worker gets a store.
    assert pickle.loads(pickle.dumps(store)).hash == store.hash


def test_two_writers_do_not_lose_each_others_episodes(store, make_trajectory):
    other = TrajectoryStore.open(store.path)
    store.append(make_trajectory(3, 6))
    other.append(make_trajectory(4, 7))
    assert other.num_episodes == 8
    assert TrajectoryStore.open(store.path).episode_ends.tolist()[-2:] == [31, 35]


def test_complete_episodes_survive_an_exception_in_the_block(store, make_trajectory):
    def record():
        with store.segment() as segment:
            segment.append(make_trajectory(3, 6))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record()
    assert TrajectoryStore.open(store.path).num_episodes == 7


def test_a_segment_is_committed_when_it_is_full(store, make_trajectory):
    with store.segment(max_bytes=1) as segment:
        segment.append(make_trajectory(3, 6))
        assert TrajectoryStore.open(store.path).num_episodes == 7


def test_uid_is_the_content(store, make_trajectory):
    uids = [record.uid for record in store.records]
    assert len(set(uids)) == 6
    again = store.append(make_trajectory(5, 0, source={"other": "file"}))
    assert again == uids[0]
    other = store.append(make_trajectory(5, 0, instruction="another"))
    assert other not in uids


def _with(array, index, value):
    changed = array.copy()
    changed[index] = value
    return changed


BASE = pytest.param


@pytest.mark.parametrize(
    ("change", "words"),
    [
        BASE(lambda t: {"state": t.state[:, :2]}, ["Episode 6", "state", "q2"], id="axes"),
        BASE(
            lambda t: {"state": _with(t.state, (2, 1), np.nan)},
            ["Episode 6", "'q1'", "nan", "step 2"],
            id="nan",
        ),
        BASE(
            lambda t: {"action": _with(t.action, (1, 1), 1.001)},
            ["'gripper'", "1.001", "[0, 1]", "step 1"],
            id="bounds",
        ),
        BASE(lambda t: {"images": {"front": t.images["front"]}}, ["wrist"], id="camera"),
        BASE(
            lambda t: {"images": {**t.images, "wrist": t.images["front"]}},
            ["'wrist'", "16x24", "8x8"],
            id="size",
        ),
        BASE(
            lambda t: {"images": {**t.images, "wrist": [b"no jpeg"] * 4}},
            ["'wrist'", "step 0", "JPEG"],
            id="jpeg",
        ),
        BASE(lambda t: {"labels": {}}, ["labels", "target"], id="labels"),
        BASE(lambda t: {"time": t.time[::-1].copy()}, ["time"], id="time"),
        BASE(lambda t: {"source": {"x": float("nan")}}, ["source"], id="source"),
    ],
)
def test_append_refuses_what_is_out_of_contract(store, make_trajectory, change, words):
    good = make_trajectory(4, 6)
    with pytest.raises(DataError) as caught:
        store.append(make_trajectory(4, 6, **change(good)))
    for word in words:
        assert word in str(caught.value)
    assert TrajectoryStore.open(store.path).num_episodes == 6


def test_bounds_have_a_little_slack(store, make_trajectory):
    good = make_trajectory(4, 6)
    store.append(make_trajectory(4, 6, action=_with(good.action, (0, 1), 1 + 5e-7)))


def test_create_refuses_an_existing_store(store, embodiment):
    with pytest.raises(DataError, match="not empty"):
        TrajectoryStore.create(store.path, embodiment=embodiment, provenance={})


def test_unknown_codec(tmp_path, embodiment):
    with pytest.raises(UnknownChoice, match="zstd"):
        TrajectoryStore.create(tmp_path / "s", embodiment=embodiment, provenance={}, codec="zst")
    assert not (tmp_path / "s").exists()


def test_open_says_what_to_do_when_there_is_no_store(tmp_path):
    with pytest.raises(DataError, match=r"manifest.json.*vla convert"):
        TrajectoryStore.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "vla-trajectory-store", "schema": 1}'])
def test_damaged_manifest(store, text):
    (store.path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest.json"):
        TrajectoryStore.open(store.path)


def test_schema_of_another_version(store):
    path = store.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(DataError, match=r"99.*Convert"):
        TrajectoryStore.open(store.path)


def _segment(store, number):
    return sorted((store.path / "segments").iterdir())[number]


def test_missing_segment(store):
    _segment(store, 1).rename(store.path / "elsewhere")
    with pytest.raises(DataError, match=r"000001.*missing.*Copy"):
        TrajectoryStore.open(store.path)


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_damaged_image_file(store, damage):
    path = _segment(store, 0) / "images/front/c/0/0/0/0"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-30])
    elif damage == "flip":
        path.write_bytes(data[:-10] + bytes([data[-10] ^ 1]) + data[-9:])
    else:
        path.unlink()
    damaged = TrajectoryStore.open(store.path)
    with pytest.raises(DataError, match="images/front"):
        damaged.read_frames("front", np.array([0]))
    with pytest.raises(DataError, match="images/front"):
        damaged.verify()


def test_damaged_column(store):
    path = _segment(store, 0) / "data/state/c/0/0"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(DataError, match=r"data/state.*SHA-256"):
        TrajectoryStore.open(store.path).column("state")


def test_leftovers_of_dead_writers_go_with_the_next_commit(store, make_trajectory):
    segments = store.path / "segments"
    (segments / ".tmp-dead" / "images").mkdir(parents=True)
    orphan = segments / "000003-deadbeef"  # complete, but never listed: ignored and left alone
    orphan.mkdir()
    (store.path / ".manifest.json.abc").write_text("{")
    opened = TrajectoryStore.open(store.path)
    assert opened.num_episodes == 6
    opened.append(make_trajectory(3, 6))
    assert not (segments / ".tmp-dead").exists()
    assert not (store.path / ".manifest.json.abc").exists()
    assert orphan.exists()
    assert TrajectoryStore.open(store.path).num_episodes == 7


def test_empty_store(tmp_path, embodiment):
    TrajectoryStore.create(tmp_path / "s", embodiment=embodiment, provenance={})
    empty = TrajectoryStore.open(tmp_path / "s")
    assert (empty.num_episodes, empty.num_frames, empty.labels) == (0, 0, {})
    assert empty.column("state").shape == (0, 3)
    assert empty.split("train").tolist() == []
