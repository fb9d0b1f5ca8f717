"""A deployed policy plans as the plain one does."""

import numpy as np
import pytest
import torch

from policies.compiled import CompiledPolicy
from policies.quantize.config import RuntimeConfig
from tests.policies.samples import build, observations, stir
from vla.contract import Policy
from vla.errors import ConfigError


def plan(policy, some):
    return np.stack([c.actions for c in policy.act(some, seeds=list(range(len(some))))])


@pytest.mark.parametrize("head", ["regression", "flow"])
def test_it_plans_alike_and_leaves_the_threads_as_they_were(head):
    policy, some = stir(build(head)).eval(), observations(2)
    plain, threads = plan(policy, some), torch.get_num_threads()
    wrapped = CompiledPolicy(policy, RuntimeConfig(threads=threads + 1, channels_last=True))
    assert isinstance(wrapped, Policy)
    np.testing.assert_allclose(plan(wrapped, some), plain, atol=1e-4)
    assert torch.get_num_threads() == threads


def test_bfloat16_is_near():
    policy, some = stir(build("regression")).eval(), observations(2)
    plain = plan(policy, some)
    wrapped = CompiledPolicy(policy, RuntimeConfig(precision="bfloat16"))
    assert 0 < np.abs(plan(wrapped, some) - plain).mean() < 0.01


def test_a_foreign_policy_is_refused():
    class Foreign:
        history = 1

    with pytest.raises(ConfigError, match="no module of ours"):
        CompiledPolicy(Foreign(), RuntimeConfig())
