"""What every kind of adapters promises, on a small policy."""

import copy
from dataclasses import replace

import pytest
import torch

from policies.peft.adapters import find_layers, frozen
from policies.peft.base import digest
from policies.peft.config import AdaloraConfig, AdapterConfig
from policies.peft.methods import METHODS
from tests.policies.samples import batch, build, observations, stir
from vla.training.config import TrainingConfig
from vla.training.distributed import SingleProcess
from vla.training.learner import Learner
from vla.training.weights import fill_module, module_tensors, save_tensors

SIZES = {
    "adalora": {"rank": 2, "first_rank": 4, "steps": 4, "warm_up": 1, "settle": 1, "every": 1},
    "lora": {"rank": 2, "init": "gaussian", "targets": ["all-linear", "conv1"]},
    "oft": {"block": 1},
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


def test_all(kind, tmp_path):
    plain, adapted = make(kind)
    assert len(find_layers(adapted)) > 5
    torch.testing.assert_close(actions(adapted.eval()), actions(plain.eval()), atol=1e-5, rtol=0)
    before = digest(frozen(adapted))
    names = {n for n, p in adapted.named_parameters() if p.requires_grad}
    loss(adapted.train()).backward()
    reached = {n for n, p in adapted.named_parameters() if p.grad is not None}
    assert reached == names
