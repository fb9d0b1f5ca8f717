"""One OpenVINO graph plans as torch does."""

import numpy as np
import pytest
import torch

from policies.backbones.language_config import SmolvlmConfig
from policies.compiled import CompiledPolicy
from policies.openvino_planner import _draw_example
from policies.quantize.config import Int4WeightsConfig, Int8Config, RuntimeConfig
from policies.quantize.quantizer import quantize
from tests.policies.quantize.test_quantizer import BACKBONE, LEAST
from tests.policies.samples import build, observations, stir
from vla.errors import ConfigError

pytest.importorskip("openvino", reason="OpenVINO is not installed (extra: quantize)")
OPENVINO = RuntimeConfig(engine="openvino", threads=1)


def plan(policy, some):
    return np.stack([c.actions for c in policy.act(some, seeds=list(range(len(some))))])


def deploy(policy):
    return CompiledPolicy(policy, OPENVINO)


def test_the_graph_of_an_int8_policy_plans_alike(monkeypatch):
    some = observations(3, pending=[0, 2, 0])
    policy = stir(build("regression", backbone=BACKBONE)).eval()
    plain = plan(policy, some)
    quantize(policy, Int8Config(least=LEAST), some)
    by_torch, deployed = plan(policy, some), deploy(policy)
    monkeypatch.setattr(policy.backbone, "encode", None)  # torch computes no more of it
    found = plan(deployed, some)
    for truth in (plain, by_torch):
        assert 0 < np.abs(found - truth).mean() < 0.05 * plain.std()
    np.testing.assert_array_equal(found[1, :2], plain[1, :2])  # committed rows
    alone = [deployed.act([one], seeds=[i])[0].actions for i, one in enumerate(some)]
    np.testing.assert_array_equal(found, alone)  # a batch is so many singles
    monkeypatch.undo()
    planner = policy.planner
    monkeypatch.setattr(planner, "_infer", lambda inputs: torch.full((1, 4, 3), 3.0))
    with pytest.raises(ConfigError, match="away from torch's"):
        planner._require_alike(_draw_example(policy))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["flow", "diffusion", "dit", "cvae"])
def test_every_head_plans_alike(head):
    policy, some = stir(build(head)).eval(), observations(2, pending=[0, 2])
    plain = plan(policy, some)
    np.testing.assert_allclose(plan(deploy(policy), some), plain, atol=1e-4)


def test_what_has_no_graph_is_refused():
    with pytest.raises(ConfigError, match=r"policy/head=tokens.*regression, flow"):
        deploy(build("tokens"))
    policy = build("regression", backbone=BACKBONE).eval()
    quantize(policy, Int4WeightsConfig(least=LEAST, gptq=False), [])
    with pytest.raises(ConfigError, match="blow up"):
        deploy(policy)
    policy = build("regression", backbone=SmolvlmConfig(size="tiny", layers=2)).eval()
    with pytest.raises(ConfigError, match="policy/backbone=smolvlm has no OpenVINO graph"):
        deploy(policy)
    with pytest.raises(ConfigError, match="leave it empty"):
        RuntimeConfig(engine="openvino", compile="default")
