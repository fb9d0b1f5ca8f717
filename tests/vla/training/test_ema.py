import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.vla.training.toys import ToyPolicy
from vla.training.ema import Ema


def scalar_module(value: float) -> nn.Module:
    module = nn.Module()
    module.weight = nn.Parameter(torch.tensor([value]))
    return module


@given(decay=st.floats(0.01, 0.999), values=st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_average_follows_the_formula(decay, values):
    module = scalar_module(1.0)
    ema = Ema(module, decay)
    expected = 1.0
    for step, value in enumerate(values, 1):
        with torch.no_grad():
            module.weight.fill_(value)
        ema.update(step)
        d = min(decay, step / (step + 9))
        expected = d * expected + (1 - d) * value
    assert ema.averages["weight"].item() == pytest.approx(expected, abs=1e-4)


def test_applied_shows_averages_and_gives_the_raw_bits_back():
    module = scalar_module(0.0)
    ema = Ema(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(0.1)
    ema.update(100)
    with pytest.raises(RuntimeError, match="boom"), ema.applied():  # noqa: PT012
        assert module.weight.item() == pytest.approx(0.01)
        raise RuntimeError("boom")
    assert torch.equal(module.weight.detach(), torch.tensor([0.1]))


def test_averages_stay_in_float32_for_bfloat16_weights():
    module = scalar_module(1.0).to(torch.bfloat16)
    ema = Ema(module, 0.999)
    for step in range(10_000, 10_100):
        with torch.no_grad():
            module.weight.fill_(2.0)
        ema.update(step)
    # In bfloat16 each update of 0.001 would be rounded away.
    assert ema.averages["weight"].item() == pytest.approx(2 - 0.999**100, abs=1e-4)


def test_decay_zero_keeps_no_copy_and_frozen_weights_have_none():
    assert Ema(ToyPolicy(), 0.0).averages == {}
    averages = Ema(ToyPolicy(), 0.9).averages
    assert "head.weight" in averages
    assert "frozen.weight" not in averages
