import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from vla.data.loader import WindowLoader
from vla.errors import ConfigError, DataError


def _loader(store, **changes):
    options = {"history": 2, "horizon": 4, "batch_size": 5, "seed": 7, **changes}
    options.setdefault("episodes", store.split("all"))
    return WindowLoader(store, **options)


def _digest(batch) -> str:
    digest = hashlib.sha256(repr(batch.instruction).encode())
    tensors = {**batch.images, **batch.labels}
    for tensor in (*(tensors[k] for k in sorted(tensors)), batch.state, batch.actions, batch.mask):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def test_windows_hold_the_episodes_content(store, make_trajectory):
    loader = _loader(store)
    assert len(loader) == 28
    batch = loader.windows(np.array([0, 4, 5, 14]))  # first, last, a one-step episode, last
    first, single, third = (make_trajectory(n, s) for n, s in ((5, 0), (1, 1), (9, 2)))
    episodes = [(first, 0), (first, 4), (single, 0), (third, 8)]
    for row, (episode, present) in enumerate(episodes):
        before = max(0, present - 1)
        for camera, frames in episode.images.items():
            np.testing.assert_array_equal(batch.images[camera][row, 0], frames[before])
            np.testing.assert_array_equal(batch.images[camera][row, 1], frames[present])
        np.testing.assert_array_equal(batch.state[row], episode.state[[before, present]])
        np.testing.assert_array_equal(batch.actions[row, 0], episode.action[present])
        np.testing.assert_array_equal(
            batch.labels["target"][row], episode.labels["target"][present]
        )
        assert batch.instruction[row] == episode.instruction
    np.testing.assert_array_equal(batch.actions[0], first.action[:4])
    assert batch.mask[0].min() == 1
    assert batch.mask[1].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    assert batch.actions[1, 1:, 0].tolist() == [0, 0, 0]  # dx is a delta: stay
    assert batch.actions[1, 1:, 1].tolist() == [first.action[4, 1]] * 3  # gripper: hold


def test_shapes_and_types(store):
    batch = _loader(store).batch(0)
    assert len(batch) == 5
    assert batch.images["front"].shape == (5, 2, 16, 24, 3)
    assert batch.images["wrist"].dtype == torch.uint8
    assert batch.state.shape == (5, 2, 3)
    assert batch.actions.shape == batch.mask.shape == (5, 4, 2)
    assert {t.dtype for t in (batch.state, batch.actions, batch.mask)} == {torch.float32}
    assert batch.labels["target"].shape == (5, 2)
    moved = batch.to("meta")
    assert moved.images["front"].device.type == "meta"
    assert moved.instruction == batch.instruction


def test_changing_a_batch_changes_nothing_else(store):
    loader = _loader(store)
    before = _digest(loader.batch(0))
    spoiled = loader.batch(0)
    for tensor in (*spoiled.images.values(), spoiled.state, spoiled.actions, spoiled.mask):
        tensor.zero_()
    assert _digest(loader.batch(0)) == before


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_iterate_is_batch_in_order_from_any_step(store, threads):
    loader = _loader(store, threads=threads)
    stream = loader.iterate(11)
    got = [_digest(batch) for batch in islice(stream, 9)]
    stream.close()
    assert got == [_digest(_loader(store).batch(step)) for step in range(11, 20)]
    assert len(set(got)) == 9


@pytest.mark.parametrize("cache_bytes", [0, 1344 * 10, 2**20])
def test_the_cache_changes_nothing(store, cache_bytes):
    plain, cached = _loader(store, cache_bytes=0), _loader(store, cache_bytes=cache_bytes)
    for step in (0, 1, 2, 0, 1, 2):
        assert _digest(plain.batch(step)) == _digest(cached.batch(step))


def test_the_cache_keeps_frames(store, monkeypatch):
    loader = _loader(store)
    for step in range(12):
        loader.batch(step)

    def refuse(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(type(store), "read_frames", refuse)
    loader.batch(0)


RESUME = """
import sys
sys.path.insert(0, sys.argv[2])
from vla.data.loader import WindowLoader
from vla.data.store import TrajectoryStore
from test_loader import _digest, _loader

print(_digest(_loader(TrajectoryStore.open(sys.argv[1])).batch(1234)))
"""


def test_resuming_in_a_fresh_process_gives_the_same_batch(store):
    here = __file__.rsplit("/", 1)[0]
    command = [sys.executable, "-c", RESUME, str(store.path), here]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    loader = _loader(store)
    loader.batch(3)  # whatever came before
    assert result.stdout.strip() == _digest(loader.batch(1234))


def test_errors_in_a_thread_reach_the_caller(store):
    for path in (store.path / "segments").glob("*/images/front/c/0/0/0/0"):
        path.unlink()
    stream = _loader(store, threads=2).iterate(0)
    with pytest.raises(DataError, match="images/front"):
        next(stream)


@pytest.mark.parametrize("name", ["history", "horizon", "batch_size"])
def test_sizes_are_checked(store, name):
    with pytest.raises(ConfigError, match=name):
        _loader(store, **{name: 0})


def test_batches_are_frozen(store):
    batch = _loader(store).batch(0)
    with pytest.raises(AttributeError):
        batch.state = None
    assert len(replace(batch, labels={})) == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA")
def test_pinned_batches(store):
    batch = next(_loader(store, pin_memory=True).iterate(3))
    assert all(image.is_pinned() for image in batch.images.values())
    assert batch.actions.is_pinned()
    moved = batch.to("cuda").to("cpu")
    torch.cuda.synchronize()
    assert _digest(moved) == _digest(_loader(store).batch(3))


def test_pinning_does_nothing_without_cuda(store, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _digest(_loader(store, pin_memory=True).batch(0)) == _digest(_loader(store).batch(0))
