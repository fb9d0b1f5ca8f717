from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.vla.training.toys import ToyLoader, ToyPolicy, toy_config
from vla.errors import CheckpointError, TrainingError
from vla.training.config import TrainingConfig
from vla.training.optim import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)


@given(
    steps=st.integers(2, 5000), warmup=st.integers(0, 4999), floor=st.floats(0, 1),
    peak=st.floats(1e-6, 1),
)  # fmt: skip
def test_schedule_end_points_and_shape(steps, warmup, floor, peak):
    warmup = min(warmup, steps - 1)
    config = TrainingConfig(
        steps=steps, warmup_steps=warmup, learning_rate=peak, learning_rate_floor=floor
    )
    rates = [learning_rate(step, config) for step in range(1, steps + 1)]
    assert rates[-1] == pytest.approx(floor * peak, abs=1e-12)
    assert max(rates) <= peak * (1 + 1e-12)
    if warmup:
        assert rates[0] == pytest.approx(peak / warmup)
        assert rates[warmup - 1] == pytest.approx(peak)
    falling = rates[max(warmup - 1, 0) :]
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))


def test_half_way_down_the_cosine_is_the_mean_of_peak_and_floor():
    config = TrainingConfig(steps=110, warmup_steps=10, learning_rate=1.0, learning_rate_floor=0.2)
    assert learning_rate(60, config) == pytest.approx(0.6)


def test_groups_spare_tables_and_vectors_and_slow_the_backbone():
    policy = ToyPolicy()
    optimizer = build_optimizer(policy, toy_config(backbone_multiplier=0.1, weight_decay=0.5))
    groups = {n: group for group in optimizer.param_groups for n in group["names"]}
    assert {n for n, group in groups.items() if group["weight_decay"] == 0.5} == {
        "backbone.0.weight", "head.weight"
    }  # fmt: skip
    assert not any(name.startswith("frozen") for name in groups)
    set_learning_rate(optimizer, 2.0)
    assert groups["backbone.1.bias"]["lr"] == pytest.approx(0.2)
    assert groups["head.bias"]["lr"] == 2.0


def test_nothing_to_train_is_an_error():
    with pytest.raises(TrainingError, match="unfreeze"):
        build_optimizer(ToyPolicy().requires_grad_(False), toy_config())


def stepped_optimizer(policy):
    optimizer = build_optimizer(policy, toy_config())
    policy.loss(ToyLoader().batch(0), generator=torch.Generator())[0].backward()
    optimizer.step()
    return optimizer


def test_memory_survives_a_round_trip():
    saved = optimizer_tensors(stepped_optimizer(ToyPolicy()))
    other = build_optimizer(ToyPolicy(), toy_config())
    restore_optimizer(other, {name: tensor.clone() for name, tensor in saved.items()})
    restored = optimizer_tensors(other)
    assert saved["head.weight/exp_avg"].any()
    assert saved.keys() == restored.keys()
    assert all(torch.equal(saved[name], restored[name]) for name in saved)


def test_memory_of_other_parameters_is_refused():
    saved = optimizer_tensors(stepped_optimizer(ToyPolicy()))
    policy = ToyPolicy()
    policy.head.requires_grad_(False)
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        restore_optimizer(build_optimizer(policy, toy_config()), saved)
