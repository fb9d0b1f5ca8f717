"""What every kind of adapters promises, on a small policy."""

import copy
from dataclasses import replace

import pytest
import torch

from policies.peft.adapters import find_layers, frozen
from policies.peft.frozen_weights import digest
from policies.peft.methods import METHODS
from tests.policies.samples import batch, build, observations, stir
from vla.training.config import TrainingConfig
from vla.training.distributed import SingleProcess
from vla.training.learner import Learner
from vla.training.weights import fill_module, module_tensors, save_tensors

SIZES = {
    "adalora": {"rank": 2, "first_rank": 4, "steps": 4, "warm_up": 1, "settle": 1, "every": 1},
    "lora": {"rank": 2, "init": "gaussian", "targets": ["all-linear", "stem"]},
    "oft": {"block": 4, "targets": ["key_value", "out", "query", "film"]},
    "vera": {"rank": 16},
    "nola": {"rank": 2, "bases": 8},
    "selective": {"rank": 2, "dense_steps": 0},
}
PARTS = ["backbone"]


def configure(kind, **options):
    sizes = SIZES.get(kind, {"rank": 2} if "rank" in METHODS[kind].__slots__ else {})
    return METHODS[kind](**{"parts": PARTS, **sizes, **options})


@pytest.fixture(params=sorted(set(METHODS) - {"none"}))
def kind(request):
    return request.param


def make(kind, **options):
    """A policy that answers to its inputs, with adapters; and the same without them."""
    plain = stir(build("regression"))
    torch.manual_seed(3)
    adapted = copy.deepcopy(plain)
    config = configure(kind, **options)
    adapted.config = replace(plain.config, peft=config)
    adapted._adapters = config.attach(adapted)
    return plain, adapted


def loss(policy):
    return policy.loss(batch(), generator=torch.Generator().manual_seed(0))[0]


def train(policy, tmp_path, steps=4):
    config = TrainingConfig(steps=steps, warmup_steps=1, learning_rate=1e-2, ema_decay=0.0)
    learner = Learner(policy, config, folder=tmp_path, team=SingleProcess())
    for step in range(1, steps + 1):
        learner.update(step, iter([batch(seed=step)]))
    return policy.eval()


def actions(policy):
    return [torch.from_numpy(c.actions) for c in policy.act(observations(), seeds=[0, 1, 2, 3])]


def noise(policy):
    """Move what is trained, so that adapters matter."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return policy.eval()


def test_adapters_begin_as_no_change_and_all_of_them_learn(kind):
    plain, adapted = make(kind)
    layers = find_layers(adapted)
    assert len(layers) > 5
    assert all(name.startswith("backbone.") for name in layers)
    torch.testing.assert_close(actions(adapted.eval()), actions(plain.eval()), atol=1e-5, rtol=0)
    assert any(".base_layer." in name for name in frozen(adapted))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert any(name.startswith("head.") for name in trained)
    assert not any(name.endswith(("base_layer.weight", "base_layer.bias")) for name in trained)
    noise(adapted).train()  # at the start, a factor that is 0 hides the other's gradient
    loss(adapted).backward()
    reached = {
        name for name, p in adapted.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert reached <= trained
    missed = {name for name in trained - reached if name.startswith("backbone.")}
    assert not missed


def test_training_leaves_the_base_alone_and_merging_changes_no_answer(kind, tmp_path):
    plain, adapted = make(kind)
    before = digest(frozen(adapted))
    first = actions(adapted.eval())
    train(adapted.train(), tmp_path)
    assert digest(frozen(adapted)) == before
    learned = actions(adapted)
    assert (torch.stack(learned) - torch.stack(first)).abs().max() > 1e-3
    adapted.merge_adapters()
    assert not find_layers(adapted)
    assert adapted.config.peft.kind == "none"
    assert module_tensors(adapted).keys() == module_tensors(plain).keys()
    torch.testing.assert_close(actions(adapted), learned, atol=1e-5, rtol=0)


def test_saved_weights_are_the_whole_adapted_policy(kind, tmp_path):
    _, adapted = make(kind)
    save_tensors(tmp_path / "weights.safetensors", module_tensors(noise(adapted)))
    other = build("regression", seed=7, filled=False, peft=configure(kind))
    fill_module(other, tmp_path / "weights.safetensors")
    torch.testing.assert_close(actions(other.eval()), actions(adapted), atol=1e-6, rtol=0)
