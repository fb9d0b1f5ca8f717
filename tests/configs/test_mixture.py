"""The published mixtures name only data sets that can be converted."""

from pathlib import Path

import pytest
import yaml

from vla.data.convert.openx.table import RECIPES

FOLDER = Path(__file__).parents[2] / "configs/mixture"
NAMES = ("bridge", "oxe_magic_soup", "oxe_magic_soup_plus", "oxe_magic_soup_plus_minus", "rtx")


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_has_a_recipe_and_a_weight(name):
    weights = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["weights"]
    assert not set(weights) - set(RECIPES)
    assert all(isinstance(weight, float) and weight > 0 for weight in weights.values())


def test_openvlas_mixture_is_whole():
    weights = yaml.safe_load((FOLDER / "oxe_magic_soup_plus.yaml").read_text())["weights"]
    assert len(weights) == 27
    assert weights["droid"] == 0.06
