"""The published mixtures name only data sets that can be converted."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from configs.launch import compose, register_schemas
from vla.data.config import MixtureConfig
from vla.data.convert.openx.table import RECIPES

register_schemas()
FOLDER = Path(__file__).parents[2] / "configs/data"
NAMES = ("bridge", "oxe_magic_soup", "oxe_magic_soup_plus", "oxe_magic_soup_plus_minus", "rtx")


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_is_one_word_of_a_training_command(name):
    job = OmegaConf.to_object(compose("train", [f"data={name}", "data.root=stores"]))
    assert isinstance(job.data, MixtureConfig)
    assert "bridge_orig" in job.data.weights
    assert job.data.weights_are == "epochs"


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_has_a_recipe_and_a_weight(name):
    weights = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["weights"]
    assert not set(weights) - set(RECIPES)
    assert all(isinstance(weight, float) and weight > 0 for weight in weights.values())


def test_openvlas_mixture_is_whole():
    weights = yaml.safe_load((FOLDER / "oxe_magic_soup_plus.yaml").read_text())["weights"]
    assert len(weights) == 27
    assert weights["droid"] == 0.06
