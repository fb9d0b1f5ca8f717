"""Small segments become large ones: nothing that can be read changes, whatever happens."""

import os
import signal
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.data.compaction import find_run
from vla.data.store import TrajectoryStore
from vla.errors import DataError


def _segments(store) -> list[str]:
    return sorted(path.name for path in (store.path / "segments").iterdir())


def _listed(store) -> list[str]:
    return [segment.name for segment in TrajectoryStore.open(store.path)._manifest.segments]


def _payloads(store) -> list[bytes]:
    return [
        store.read_payload(camera, frame)
        for camera in store.embodiment.cameras
        for frame in range(store.num_frames)
    ]


@given(st.lists(st.integers(0, 120), max_size=30), st.integers(1, 100))
def test_runs(sizes, target):
    """Merging goes on to an end, never above the target, and leaves no two neighbours to merge."""
    large = [size for size in sizes if 2 * size >= target]
    total = sum(sizes)
    while (run := find_run(sizes, target)) is not None:
        part = sizes[run]
        assert len(part) >= 2
        assert max(part) * 2 < target
        assert sum(part) <= target
        sizes = [*sizes[: run.start], sum(part), *sizes[run.stop :]]
    assert sum(sizes) == total
    for left, right in pairwise(sizes):
        assert 2 * max(left, right) >= target or left + right > target
    assert all(sizes.count(size) >= large.count(size) for size in large)


def test_nothing_that_can_be_read_changes(store):
    before = (store.hash, store.records, store.episode_ends.tolist(), _payloads(store))
    columns = {key: store.column(key) for key in ("state", "action", "time", "labels/target")}
    store.compact()
    for opened in (store, TrajectoryStore.open(store.path)):
        after = (opened.hash, opened.records, opened.episode_ends.tolist(), _payloads(opened))
        assert after == before
        for key, values in columns.items():
            np.testing.assert_array_equal(opened.column(key), values)
        opened.verify()
    assert len(_listed(store)) == 1


def test_open_readers_go_on_until_the_garbage_is_collected(store):
    reader = TrajectoryStore.open(store.path)  # has not read anything yet
    old = _listed(store)
    for name in old:  # written long ago
        os.utime(store.path / "segments" / name, (0, 0))
    store.compact()
    assert store.collect_garbage(min_age_seconds=60) == []  # listed until a moment ago
    np.testing.assert_array_equal(
        reader.read_frames("front", np.arange(28)), store.read_frames("front", np.arange(28))
    )
    assert store.collect_garbage(min_age_seconds=0) == old
    assert _segments(store) == _listed(store)
    with pytest.raises(DataError, match=r"compacted.*open it anew"):
        reader.column("state")
    TrajectoryStore.open(store.path).verify()


def test_the_target_decides(store):
    sizes = {
        name: sum(
            path.stat().st_size
            for path in (store.path / "segments" / name).rglob("*")
            if path.is_file() and path.name != "zarr.json"
        )
        for name in _listed(store)
    }
    store.compact(target_bytes=2 * min(sizes.values()))  # all have reached half of it
    assert _listed(store) == list(sizes)
    first = next(iter(sizes))
    store.compact(target_bytes=2 * sizes[first])  # the largest has, the others fit together
    assert _listed(store)[0] == first
    assert len(_listed(store)) == 2
    assert [record.length for record in store.records] == [5, 1, 9, 4, 7, 2]


def test_a_name_is_never_used_again(store, make_trajectory):
    names = set(_segments(store))
    store.compact()
    for _ in range(2):
        store.append(make_trajectory(4, 3))  # the content of segment 1
    new = set(_segments(store)) - names
    assert len(new) == 3
    assert TrajectoryStore.open(store.path).episode_ends.tolist()[-2:] == [32, 36]


def test_a_writer_that_opened_before_appends_after(store, make_trajectory):
    other = TrajectoryStore.open(store.path)
    store.compact()
    other.append(make_trajectory(3, 6))
    assert other.num_episodes == 7
    other.verify()


def test_compacting_beside_a_writer(store, make_trajectory):
    def write():
        mine = TrajectoryStore.open(store.path)
        for seed in range(6, 12):
            mine.append(make_trajectory(3, seed))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        store.compact()
        store.collect_garbage(min_age_seconds=0)
    writer.join()
    found = TrajectoryStore.open(store.path)
    assert [record.length for record in found.records] == [5, 1, 9, 4, 7, 2, *[3] * 6]
    assert [record.source["seed"] for record in found.records] == list(range(12))
    found.verify()


def test_a_damaged_episode_is_not_copied(store):
    name = _listed(store)[1]
    path = store.path / "segments" / name / "images/wrist/c/0/0/0/0"
    data = bytearray(path.read_bytes())
    data[8] ^= 1  # a payload's byte: the index still fits
    path.write_bytes(data)
    listed = _listed(store)
    with pytest.raises(DataError, match=rf"Episode {store.records[3].uid} in .*{name}"):
        store.compact()
    assert _listed(store) == listed


def _die_at(monkeypatch, count: int) -> None:
    """Make the `count`-th fsync or rename from now on the moment of a SIGKILL."""
    left = [count]

    def dying(call):
        def wrapped(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapped

    for name in ("fsync", "replace", "rename", "utime", "rmdir"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("moment", [1, 40, 59, 60, 61, 63, 64, 65, 66, 67, 68, 100])
def test_a_kill_leaves_the_store_as_before_or_after(store, make_trajectory, monkeypatch, moment):
    """Of the calls, 59 names the new segment, 65 replaces the manifest, 67 begins to collect."""
    before, payloads, folders = store.hash, _payloads(store), _listed(store)
    child = os.fork()
    if child == 0:
        _die_at(monkeypatch, moment)
        store.compact()
        store.collect_garbage(min_age_seconds=0)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    found = TrajectoryStore.open(store.path)
    assert len(_listed(found)) in (1, len(folders))
    assert (found.hash, _payloads(found)) == (before, payloads)
    found.verify()
    found.append(make_trajectory(3, 6))
    found.compact()
    found.collect_garbage(min_age_seconds=0)
    assert _segments(found) == _listed(found)
    assert len(_listed(found)) == 1
    found.verify()


def test_garbage_ages_from_the_moment_it_was_left_out(store, make_trajectory):
    store.compact()
    orphan = store.path / "segments" / "000099-deadbeef"  # of a writer that died
    orphan.mkdir()
    os.utime(orphan, (time.time() - 100,) * 2)
    assert store.collect_garbage(min_age_seconds=50) == [orphan.name]
