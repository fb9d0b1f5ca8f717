"""Layers and policies in few bits."""

from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from policies.backbones.config import TinyConfig
from policies.quantize.config import (
    Bfloat16Config,
    Float8Config,
    Int4WeightsConfig,
    Int8Config,
    Int8WeightsConfig,
    RecipeConfig,
)
from policies.quantize.linears import LINEARS, Int4WeightLinear, Int8Linear, make_linear
from policies.quantize.quantizer import adopt, choose_layers, count_bytes, quantize
from tests.policies.samples import build, observations, stir
from vla.errors import CheckpointError, ConfigError
from vla.training.weights import fill_module, map_module, module_tensors, save_tensors

BACKBONE = TinyConfig(
    width=128, layers=2, attention_heads=2, channels=8, blocks=2, grid=8, keypoints=4
)
LEAST = 4096
BOUNDS = {
    "bfloat16": 0.01,
    "int8": 0.03,
    "int8_weights": 0.012,
    "int4_weights": 0.15,
    "float8": 0.05,
}
RECIPES = {
    "bfloat16": Bfloat16Config(least=LEAST),
    "int8": Int8Config(least=LEAST),
    "int8_weights": Int8WeightsConfig(least=LEAST),
    "int4_weights": Int4WeightsConfig(least=LEAST),
    "float8": Float8Config(least=LEAST),
}


def make(head="regression"):
    return stir(build(head, backbone=BACKBONE)).eval()


def rows(policy, some):
    return torch.stack(
        [torch.from_numpy(c.actions) for c in policy.act(some, seeds=list(range(len(some))))]
    )


@pytest.mark.parametrize("kind", LINEARS)
def test_a_layer_is_near_its_float_self(kind):
    torch.manual_seed(0)
    linear = nn.Linear(128, 192)
    layer = make_linear(kind, 128, 192, bias=True, group=32)
    layer.fill(linear)
    for shape in [(1, 128), (3, 7, 128), (40, 128)]:
        x = torch.randn(shape)
        with torch.inference_mode():
            truth, guess = linear(x), layer(x)
        assert guess.shape == truth.shape
        assert guess.dtype == x.dtype
        assert (guess - truth).norm() / truth.norm() < BOUNDS[kind]


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_row_does_not_depend_on_its_neighbours(scale, seed):
    torch.manual_seed(seed)
    layer = Int8Linear(64, 32, bias=True)
    layer.fill(nn.Linear(64, 32))
    x = torch.randn(5, 64)
    with torch.inference_mode():
        alone = layer(x[:1])
        x[1:] *= scale
        assert torch.equal(layer(x)[:1], alone)


def test_the_portable_path_computes_alike(monkeypatch):
    layer = Int8Linear(64, 32, bias=False)
    layer.fill(nn.Linear(64, 32, bias=False))
    x = torch.randn(4, 64)
    with torch.inference_mode():
        fast = layer(x)
        monkeypatch.setattr("policies.quantize.linears.VNNI", False)
        assert 0 < (layer(x) - fast).norm() / fast.norm() < 0.02  # one range per token


def test_the_4_bit_kernel_computes_what_the_codes_say():
    layer = Int4WeightLinear(128, 64, bias=True)
    layer.fill(nn.Linear(128, 64))
    x = torch.randn(4, 128)
    with torch.inference_mode():
        told = nn.functional.linear(x, layer.decode(), layer.bias)
        assert (layer(x) - told).norm() / told.norm() < 0.01  # bfloat16 activations


def test_gptq_beats_rounding_on_correlated_inputs():
    from policies.quantize.gptq import encode_gptq

    torch.manual_seed(0)
    linear = nn.Linear(128, 64)
    fed = torch.randn(512, 16) @ torch.randn(16, 128) + 0.1 * torch.randn(512, 128)
    errors = []
    for choose_codes in (False, True):
        layer = Int4WeightLinear(128, 64, bias=True)
        layer.fill(linear)
        if choose_codes:
            encode_gptq(layer, linear.weight.detach(), fed)
        told = nn.functional.linear(fed, layer.decode(), layer.bias)
        errors.append(float((told - linear(fed)).detach().norm()))
    assert errors[1] < 0.6 * errors[0]


def test_smoothing_helps_where_inputs_have_outliers():
    torch.manual_seed(0)
    policy = make()
    name = "backbone.blocks.0.mlp.3"
    inner = policy.get_submodule("backbone.blocks.0.mlp.1")
    with torch.no_grad():  # outlier channels, as language models have them
        inner.bias[:4] += 60.0
    some = observations(8)
    found = {}
    for smooth in ([], [0.5, 0.75]):
        policy_copy = make()
        policy_copy.load_state_dict(policy.state_dict())
        reports = quantize(policy_copy, Int8Config(least=LEAST, smooth=smooth), some)
        found[len(smooth)] = next(r for r in reports if r.name == name)
    assert found[2].error < 0.7 * found[0].error
    assert found[2].smooth > 0


@pytest.mark.parametrize("kind", RECIPES)
def test_a_policy_is_smaller_and_plans_alike_and_comes_back(kind, tmp_path):
    policy, some = make(), observations(4)
    before, size = rows(policy, some), count_bytes(policy)
    layers = quantize(policy, RECIPES[kind], some)
    after = rows(policy, some)
    assert count_bytes(policy) < 0.75 * size
    assert all(layer.error < RECIPES[kind].layer_limit for layer in layers if layer.error)
    assert 0 < (after - before).abs().mean() < 0.1 * before.std()
    save_tensors(tmp_path / "w.safetensors", module_tensors(policy))
    for put in (fill_module, map_module):
        again = build("regression", backbone=BACKBONE, filled=False).eval()
        adopt(again, [asdict(layer) for layer in layers])
        put(again, tmp_path / "w.safetensors")
        assert torch.equal(rows(again, some), after)


def test_a_quantized_batch_equals_singles():
    policy, some = make("flow"), observations(3)
    quantize(policy, RECIPES["int8"], some)
    together = rows(policy, some)
    alone = [policy.act([one], seeds=[i])[0].actions for i, one in enumerate(some)]
    for row, single in zip(together, alone, strict=True):
        torch.testing.assert_close(row, torch.from_numpy(single), atol=2e-3, rtol=0)


def test_recipes_choose_by_part_size_and_name():
    policy = make("flow")
    every = choose_layers(policy, RECIPES["int8"])
    assert any(name.startswith("backbone.blocks") for name in every)
    assert not any(".pointer." in name or name.endswith(".enter") for name in every)
    head = choose_layers(policy, Int8Config(least=1024, parts=["head"]))
    assert head
    assert all(name.startswith("head.") for name in head)
    with pytest.raises(ConfigError, match="finds no layer"):
        quantize(policy, Int8Config(least=10**9), [])
    assert quantize(policy, RecipeConfig(), []) == []


def test_a_foreign_description_is_refused():
    with pytest.raises(CheckpointError, match="does not fit"):
        adopt(make(), [{"name": "backbone.nothing", "kind": "int8", "group": 0}])
    with pytest.raises(CheckpointError, match="int9"):
        adopt(make(), [{"name": "backbone.blocks.0.mlp.1", "kind": "int9", "group": 0}])
