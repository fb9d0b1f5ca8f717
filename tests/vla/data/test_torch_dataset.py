from itertools import islice

import pytest
import torch

from vla.data.loader import WindowLoader
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
