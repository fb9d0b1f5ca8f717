import subprocess
import sys

import pytest

from vla.data.config import DataConfig
from vla.errors import ConfigError, DataError


def test_builds_a_loader_of_one_split(store):
    config = DataConfig(path=str(store.path), held_out=0.3, threads=0)
    opened = config.open()
    sizes = {
        split: len(config.build(opened, history=1, horizon=2, batch_size=2, seed=0, split=split))
        for split in ("train", "held_out", "all")
    }
    assert sizes["train"] + sizes["held_out"] == sizes["all"] == 28
    assert 0 < sizes["held_out"] < 28


@pytest.mark.parametrize(
    "option", [{"held_out": 1.0}, {"threads": -1}, {"cache_gb": -1}, {"image_size": -1}]
)
def test_options_are_checked(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        DataConfig(path="x", **option)


def test_missing_store(tmp_path):
    with pytest.raises(DataError, match="manifest"):
        DataConfig(path=str(tmp_path / "nothing")).open()


def test_configs_import_nothing_heavy():
    code = (
        "import sys, vla.data.config, vla.data.convert.config\n"
        "print([m for m in ('torch', 'zarr', 'numpy', 'imagecodecs') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
