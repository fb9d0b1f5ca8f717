import pytest
import torch

from policies.checkpoints import pi0
from policies.checkpoints.translation import cut, flip, keep, lift, translate
from vla.errors import CheckpointError

TABLE = {"part.a": ("ours.a", keep), "part.b": ("ours.b", lift), "out": ("ours.out", flip)}
WEIGHTS = {name: torch.ones(2, 3) for name in ("model.part.a", "part.b", "out", "eyes.c")}


def test_names_and_numbers_are_translated():
    ours = translate(WEIGHTS, TABLE, owned=("part", "out"), idle=())
    assert {name: weight[0, 0].item() for name, weight in ours.items()} == {
        "ours.a": 1,
        "ours.b": 2,
        "ours.out": -1,
    }
    assert cut(2)(torch.ones(4, 3)).shape == (4, 2)


def test_nothing_is_missing_or_left_over():
    with pytest.raises(CheckpointError, match=r"part\.b"):
        translate({"part.a": torch.ones(1)}, TABLE, owned=("part",), idle=())
    extra = WEIGHTS | {"part.z": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"part\.z"):
        translate(extra, TABLE, owned=("part",), idle=())
    assert len(translate(extra, TABLE, owned=("part",), idle=("part.z",))) == 3


def test_the_other_pi_is_refused():
    with pytest.raises(CheckpointError, match="lacks"):
        pi0.translate_adaptive_expert({"action_in_proj.weight": torch.ones(1)}, layers=1)
