"""Faults on purpose: each does what it says, when it says."""

import numpy as np
import pytest

from tests.vla.runtime.test_async_controller import observe
from tests.vla.runtime.toy_policies import SweeperFactory
from vla.errors import ConfigError, ServingError
from vla.runtime.faults import FaultConfig


def act(policy, when=5.0):
    (chunk,) = policy.act([observe([0.0, 0.0], when)], seeds=[0])
    return chunk.actions


def make(**faults):
    policy, weights = FaultConfig(**faults).wrap(SweeperFactory(delay=0.0))()
    assert weights == "ab" * 32
    return policy


def test_no_fault_is_no_wrapper():
    factory = SweeperFactory()
    assert FaultConfig().wrap(factory) is factory


def test_each_fault_spoils_plans_from_its_time_on():
    assert np.isnan(act(make(nan_at=0.0))).all()
    assert np.isfinite(act(make(nan_at=60.0))).all()
    assert act(make(jump_at=0.0, jump=2.0)).min() > 7.9  # twice the width of 4 rad
    with pytest.raises(ServingError, match="error_at"):
        act(make(error_at=0.0))


def test_warm_up_is_spared():
    policy = make(nan_at=0.0, drop=0.9)
    assert np.isfinite(act(policy, when=0.0)).all()


def test_drops_are_random_and_counted_by_share():
    policy, lost = make(drop=0.5), 0
    for _ in range(200):
        try:
            act(policy)
        except ServingError:
            lost += 1
    assert 60 < lost < 140
    with pytest.raises(ConfigError, match=r"faults\.drop"):
        FaultConfig(drop=1.0)
