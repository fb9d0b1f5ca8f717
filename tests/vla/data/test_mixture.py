"""The mixture's stream: shares, epochs, resume, ranks, and what a joint batch holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.vla.data.conftest import EMBODIMENT, trajectory
from vla.data import sampling
from vla.data.mixture import MixtureLoader
from vla.data.resized_store import ResizedStore
from vla.data.sampling import MixtureSampler
from vla.data.store import TrajectoryStore
from vla.data.window_reader import WindowReader
from vla.embodiment import Axis, Camera
from vla.errors import ConfigError
from vla.family import Family, find_views

OTHER = replace(
    EMBODIMENT,
    name="other",
    state=(Axis(name="q1", unit="rad", low=-4, high=4),),
    action=(
        Axis(name="gripper", unit="1", low=0, high=1),
        Axis(name="dy", unit="m", low=-2, high=2, mode="delta"),
    ),
    cameras={"front": Camera(height=16, width=16)},
)


def write(path, embodiment, lengths):
    store = TrajectoryStore.create(path, embodiment=embodiment, provenance={}, codec="zstd")
    for seed, length in enumerate(lengths):
        whole = trajectory(length, seed)
        images = {
            name: np.ascontiguousarray(whole.images[name][:, : c.height, : c.width])
            for name, c in embodiment.cameras.items()
        }
        state = whole.state[:, : len(embodiment.state)].copy()
        store.append(
            replace(
                whole,
                images=images,
                state=state,
                labels={} if embodiment is OTHER else whole.labels,
            )
        )
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixture")
    return [write(root / "a", EMBODIMENT, (9, 5, 7)), write(root / "b", OTHER, (6, 4))]


def build(stores, *, batch_size=8, rank=0, ranks=1, threads=0, seed=3, weights=(1.0, 3.0)):
    roles = {"main": ["front"], "hand": ["wrist"]}
    stores = [ResizedStore.open(store.path, image_size=(8, 8)) for store in stores]
    bodies = [store.embodiment for store in stores]
    family, members = Family.unite(bodies, roles, (8, 8))
    views = [find_views(roles, body) for body in bodies]
    readers = [
        WindowReader(store, history=2, horizon=3, episodes=store.split("all")) for store in stores
    ]
    return MixtureLoader(readers, members, views, family, weights=weights, batch_size=batch_size,
                         seed=seed, threads=threads, rank=rank, ranks=ranks)  # fmt: skip


def stream(loader, steps, start=0):
    """Every (store, window) of some steps, in order."""
    return [
        pair for s in range(start, start + steps) for pair in zip(*loader.draws(s), strict=True)
    ]


def test_frequencies_match_the_weights():
    sampler = MixtureSampler([50, 1000, 7], [0.2, 3.0, 1.0], seed=11)
    sources, _ = sampler.draw(np.arange(200_000))  # over several blocks
    counts = np.bincount(sources, minlength=3)
    assert stats.chisquare(counts, sampler.shares * len(sources)).pvalue > 1e-3
    # draws are independent: a source follows another as often as its share says
    pairs = np.bincount(sources[:-1] * 3 + sources[1:], minlength=9).reshape(3, 3)
    expected = np.outer(sampler.shares, sampler.shares) * (len(sources) - 1)
    assert stats.chisquare(pairs.ravel(), expected.ravel()).pvalue > 1e-3


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    block=st.integers(5, 40),
)
def test_each_epoch_of_a_source_draws_every_window_once(sizes, seed, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "BLOCK", block)
        sampler = MixtureSampler(sizes, [1.0 + i for i in range(len(sizes))], seed)
        sources, windows = sampler.draw(np.arange(3 * sum(sizes) * len(sizes)))
        for source, size in enumerate(sizes):
            mine = windows[sources == source]
            for begin in range(0, len(mine) - size + 1, size):
                assert sorted(mine[begin : begin + size]) == list(range(size))
        again = MixtureSampler(sizes, [1.0 + i for i in range(len(sizes))], seed)
        last = np.arange(len(sources) - 3, len(sources))
        late = again.draw(last)  # found without those before
        assert [v.tolist() for v in late] == [sources[-3:].tolist(), windows[-3:].tolist()]


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 2])
def test_resume_gives_the_same_stream_for_any_workers_and_ranks(stores, threads, ranks):
    whole = stream(build(stores, batch_size=8), 12)
    parts = [build(stores, batch_size=8 // ranks, rank=r, ranks=ranks) for r in range(ranks)]
    shared = [pair for step in range(12) for part in parts for pair in stream(part, 1, step)]
    assert shared == whole
    # killed after 5 steps and begun anew: the batches are those of the uninterrupted run
    for rank in range(ranks):
        options = {"batch_size": 8 // ranks, "rank": rank, "ranks": ranks}
        straight = build(stores, **options)
        resumed = build(stores, threads=threads, **options).iterate(5)
        for step in range(5, 8):
            one, other = straight.batch(step), next(resumed)
            assert one.instruction == other.instruction
            for name in ("state", "actions", "mask", "member"):
                assert torch.equal(getattr(one, name), getattr(other, name))
            assert torch.equal(one.images["main"], other.images["main"])
        resumed.close()


def test_axes_meet_by_meaning_and_absent_ones_are_masked(stores):
    loader = build(stores, batch_size=64)
    batch = loader.batch(0)
    first, second = batch.member == 0, batch.member == 1
    assert first.any()
    assert second.any()
    assert batch.actions.shape == (64, 3, 3)  # dx, gripper, dy
    assert (batch.mask[first][:, 0] == torch.tensor([1.0, 1, 0])).all()
    assert (batch.mask[second][:, 0] == torch.tensor([0.0, 1, 1])).all()
    assert (batch.actions[second][..., 0] == 0).all()
    assert (batch.actions[first][..., 2] == 0).all()
    # the gripper is the second axis of one body and the first of the other
    which, windows = loader.draws(0)
    for row in torch.nonzero(second).flatten()[:5].tolist():
        store = stores[which[row]]
        assert batch.actions[row, 0, 1] == store.column("action")[windows[row], 0]
        assert batch.state[row, 1, 1] == store.column("state")[windows[row], 0]
    assert batch.images["main"].shape == (64, 2, 8, 8, 3)
    assert not batch.images["hand"][second].any()
    assert batch.images["hand"][first].any()
    assert batch.labels["target"][second].isnan().all()
    assert batch.labels["target"][first].isfinite().all()


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, float("nan")], [1.0]])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ConfigError):
        MixtureSampler([3, 4], weights, seed=0)
