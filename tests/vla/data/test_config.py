import subprocess
import sys

import pytest

from vla.data.config import DataConfig, MixtureConfig, StoreConfig
from vla.data.store import TrajectoryStore
from vla.errors import ConfigError, DataError

WINDOWS = {"history": 1, "horizon": 2, "batch_size": 2, "seed": 0}


def test_loads_one_split(store):
    data = StoreConfig(path=str(store.path), held_out=0.3, threads=0).open()
    sizes = {split: len(data.load(split, **WINDOWS)) for split in ("train", "held_out", "all")}
    assert sizes["train"] + sizes["held_out"] == sizes["all"] == 28
    assert 0 < sizes["held_out"] < 28
    assert data.body == store.embodiment
    assert data.statistics()[0].state.count == sizes["train"]


@pytest.mark.parametrize(("meaning", "share"), [("epochs", 2 / 3), ("shares", 1 / 2)])
def test_mixture_of_stores(store, meaning, share):
    copy = store.path.with_name("half")
    half = TrajectoryStore.create(copy, embodiment=store.embodiment, provenance={}, codec="zstd")
    half.append_many(store.episode(i) for i in (0, 2))  # 14 of the 28 windows
    config = MixtureConfig(
        root=str(store.path.parent),
        weights={"store": 1.0, "half": 1.0},
        weights_are=meaning,
        cameras={"main": ["front"]},
        image_size=[8, 8],
        held_out=0.0,
        threads=0,
    )
    data = config.open()
    loader = data.load("train", **WINDOWS)
    assert loader.shares[0] == pytest.approx(share)
    assert len(data.body.members) == 1  # equal bodies: one normalisation over both
    assert data.statistics()[0].state.count == 28 + 14
    assert loader.batch(0).images["main"].shape == (2, 1, 8, 8, 3)
    kept = data.describe(data.statistics())["data"]["stores"]
    assert kept == {"store": data.stores[0].hash, "half": data.stores[1].hash}
    with pytest.raises(DataError, match="held_out"):
        data.load("held_out", **WINDOWS)


@pytest.mark.parametrize(
    "option", [{"held_out": 1.0}, {"threads": -1}, {"cache_gb": -1}, {"image_size": [0, 9]}]
)
def test_options_are_checked(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        StoreConfig(path="x", **option)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"weights": {}}, "weights"),
        ({"weights_are": "epoch"}, "epochs"),
        ({"image_size": []}, "image_size"),
    ],
)
def test_mixture_options_are_checked(option, words):
    with pytest.raises(ConfigError, match=words):
        MixtureConfig(**{"root": "x", "weights": {"a": 1.0}, **option})


def test_missing_store(tmp_path):
    with pytest.raises(DataError, match="manifest"):
        StoreConfig(path=str(tmp_path / "nothing")).open()
    with pytest.raises(ConfigError, match=r"data\.path"):
        DataConfig().open()


def test_configs_import_nothing_heavy():
    code = (
        "import sys, vla.data.config, vla.data.convert.config\n"
        "print([m for m in ('torch', 'zarr', 'numpy', 'imagecodecs') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
