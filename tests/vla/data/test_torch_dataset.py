from itertools import islice

import pytest
import torch

from vla.data.loader import WindowLoader
from vla.data.shared_images import SharedImages
from vla.data.torch_dataset import WindowDataset, load_with_workers
from vla.errors import ConfigError

SIZES = {"history": 2, "horizon": 4}


def _same(one, other) -> bool:
    pairs = [(one.images[name], other.images[name]) for name in one.images]
    pairs += [(one.labels[name], other.labels[name]) for name in one.labels]
    pairs += [(getattr(one, name), getattr(other, name)) for name in ("state", "actions", "mask")]
    return one.instruction == other.instruction and all(torch.equal(*pair) for pair in pairs)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("workers", "context"),
    [(0, None), (1, "fork"), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)],
)
def test_workers_give_the_loaders_batches(store, workers, context):
    episodes = store.split("all")
    dataset = WindowDataset(store, episodes=episodes, **SIZES)
    dataset[3]  # files are open here before the workers start
    loader = WindowLoader(store, batch_size=5, seed=7, episodes=episodes, **SIZES)
    stream = load_with_workers(
        dataset, batch_size=5, seed=7, workers=workers, start_step=4, context=context
    )
    batches = iter(stream)
    for step, batch in enumerate(islice(batches, 5), start=4):
        assert _same(batch, loader.batch(step))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_pictures_stay_while_somebody_looks_at_them(store):
    """Memory is used again, so hold whole batches, and views of others, beyond all slots."""
    dataset = WindowDataset(store, episodes=store.split("all"), **SIZES)
    stream = load_with_workers(dataset, batch_size=5, seed=7, workers=1)
    batches, views = [], []
    for _ in range(9):
        batches.append(next(stream))
        views.append(next(stream).images["front"][1:, 1, 2].numpy())
    stream.close()
    loader = WindowLoader(store, batch_size=5, seed=7, episodes=store.split("all"), **SIZES)
    for step, (batch, view) in enumerate(zip(batches, views, strict=True)):
        assert _same(batch, loader.batch(2 * step))
        wanted = loader.batch(2 * step + 1).images["front"][1:, 1, 2]
        assert torch.equal(torch.from_numpy(view), wanted)


def test_slots_come_back():
    shared = SharedImages(workers=2, slots=2, shapes={"a": (1, 2), "b": (3,)})
    assert [shared.take(1), shared.take(1), shared.take(1), shared.take(0)] == [2, 3, None, 0]
    allocate = shared.allocator(3)
    allocate((1, 2)).fill_(7)
    allocate((3,)).fill_(8)
    images = shared.collect(3)
    assert (images["a"].tolist(), images["b"].tolist()) == ([[7, 7]], [8, 8, 8])
    view = images.pop("a")[0]
    images.clear()
    assert shared.take(1) is None  # a view of one camera still holds the slot
    del view
    assert shared.take(1) == 3


def test_single_windows(store):
    dataset = WindowDataset(store, episodes=store.split("all"), **SIZES)
    assert len(dataset) == 28
    loader = WindowLoader(store, batch_size=5, seed=7, episodes=store.split("all"), **SIZES)
    assert _same(dataset[9], loader.windows(torch.tensor([9]).numpy()))


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"seed": -1}, {"workers": -1}])
def test_sizes_are_checked(store, option):
    dataset = WindowDataset(store, episodes=store.split("all"), **SIZES)
    with pytest.raises(ConfigError, match=next(iter(option))):
        load_with_workers(dataset, **{"batch_size": 2, "seed": 0, "workers": 0, **option})
