"""One OpenVINO graph plans as torch does."""

import numpy as np
import pytest

from policies.compiled import CompiledPolicy
from policies.openvino_network import OpenvinoNetwork
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


def test_a_graph_plans_alike_with_and_without_committed_rows():
    policy, some = stir(build("regression")).eval(), observations(3, pending=[0, 2, 0])
    plain = plan(policy, some)
    deployed = deploy(policy)
    np.testing.assert_allclose(plan(deployed, some), plain, atol=1e-5)
    alone = [deployed.act([one], seeds=[i])[0].actions for i, one in enumerate(some)]
    np.testing.assert_array_equal(plan(deployed, some), alone)  # a batch is so many singles


def test_int8_codes_are_the_graphs_too(monkeypatch):
    policy, some = stir(build("regression", backbone=BACKBONE)).eval(), observations(4)
    plain = plan(policy, some)
    quantize(policy, Int8Config(least=LEAST), some)
    by_torch, deployed = plan(policy, some), deploy(policy)
    monkeypatch.setattr(policy.backbone, "encode", None)  # torch computes no more of it
    by_openvino = plan(deployed, some)
    spread = plain.std()
    assert 0 < np.abs(by_openvino - plain).mean() < 0.05 * spread
    assert np.abs(by_openvino - by_torch).mean() < 0.05 * spread


def test_what_denoises_answers_to_committed_rows_by_torch():
    policy, some = stir(build("flow")).eval(), observations(2, pending=[0, 2])
    plain = plan(policy, some)
    np.testing.assert_allclose(plan(deploy(policy), some), plain, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["diffusion", "dit", "cvae"])
def test_the_other_heads_plan_alike(head):
    policy, some = stir(build(head)).eval(), observations(2)
    plain = plan(policy, some)
    np.testing.assert_allclose(plan(deploy(policy), some), plain, atol=1e-4)


def test_a_graph_that_computes_something_else_is_refused(monkeypatch):
    infer = OpenvinoNetwork._infer
    monkeypatch.setattr(OpenvinoNetwork, "_infer", lambda self, inputs: infer(self, inputs) + 1)
    with pytest.raises(ConfigError, match="away from torch's"):
        deploy(stir(build("regression")).eval())


def test_what_has_no_graph_is_refused():
    with pytest.raises(ConfigError, match=r"policy/head=tokens.*regression, flow"):
        deploy(build("tokens"))
    policy = build("regression", backbone=BACKBONE).eval()
    quantize(policy, Int4WeightsConfig(least=LEAST, gptq=False), [])
    with pytest.raises(ConfigError, match="blow up"):
        deploy(policy)
    policy = build("regression").eval()
    policy.backbone.readable = False
    with pytest.raises(ConfigError, match="tokenizer of its own"):
        deploy(policy)
    with pytest.raises(ConfigError, match="leave it empty"):
        RuntimeConfig(engine="openvino", compile="default")
