"""A checkpoint that comes in shards is in few bits when it is loaded, and was never in float."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from policies.quantize.config import Int4WeightsConfig, Int8WeightsConfig
from policies.quantize.quantizer import quantize
from policies.streamed_weights import load_in_bits
from tests.policies.samples import build, observations, stir
from vla.errors import CheckpointError
from vla.training.weights import module_tensors

RECIPES = [Int8WeightsConfig(least=256), Int4WeightsConfig(least=256, gptq=False)]


def write(policy, folder, shards=3):
    names = list(module_tensors(policy))
    files = []
    for number in range(shards):
        part = {n: module_tensors(policy)[n].detach().clone() for n in names[number::shards]}
        files.append(folder / f"model-{number}.safetensors")
        save_file({f"theirs.{name}": tensor for name, tensor in part.items()}, files[-1])
    return files


def rename(name):
    return name.removeprefix("theirs.")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.kind)
def test_it_is_what_quantizing_the_float_policy_gives(tmp_path, recipe):
    source, some = stir(build("flow")).eval(), observations(2)
    files = write(source, tmp_path)
    policy, chosen = load_in_bits(
        lambda: build("flow", seed=1, filled=False), files, recipe, rename=rename, portion=10_000
    )
    want = [layer.name for layer in quantize(source, recipe, [])]
    assert chosen == sorted(want)
    assert not any(weight.device.type == "meta" for weight in policy.parameters())
    for one, other in zip(
        source.act(some, seeds=[0, 1]), policy.act(some, seeds=[0, 1]), strict=True
    ):
        np.testing.assert_array_equal(one.actions, other.actions)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "twice", "torn"])
def test_files_that_do_not_fit_are_refused(tmp_path, fault):
    source = build("flow")
    files = write(source, tmp_path)
    name = next(iter(module_tensors(source)))
    extra = tmp_path / "extra.safetensors"
    if fault == "missing":
        files = files[:-1]
    elif fault == "torn":
        files[0].write_bytes(files[0].read_bytes()[:100])
    else:
        key = "theirs.foreign" if fault == "unknown" else f"theirs.{name}"
        tensor = module_tensors(source)[name].detach()
        save_file({key: torch.zeros(1, 2) if fault == "shape" else tensor.clone()}, extra)
        files = [extra, *files]
    with pytest.raises(CheckpointError):
        load_in_bits(lambda: build("flow", filled=False), files, RECIPES[0], rename=rename)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_peak_is_the_codes_and_one_portion(tmp_path):
    from benchmarks.loading_memory import measure

    told = measure(0.4, 64, 64, tmp_path)
    constant = 14 * 45  # float32 copies of the largest weight (2048 x 5504) on its way to codes
    assert told["checkpoint_mb"] > 350
    assert told["kept_mb"] < 0.4 * told["checkpoint_mb"]
    assert told["above_kept_mb"] < told["portion_mb"] * 1.05 + constant
