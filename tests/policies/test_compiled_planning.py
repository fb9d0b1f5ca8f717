"""The plan as one program: nothing in it waits for the device, nothing is compiled twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from policies.backbones.language_config import PaligemmaConfig, PrismaticConfig, SmolvlmConfig
from policies.compiled import CompiledPolicy, Planner
from policies.heads.config_expert import ExpertConfig
from policies.heads.config_language import ParallelConfig, WordsConfig
from policies.planning import gather, plan, upload
from policies.quantize.config import RuntimeConfig
from tests.policies.samples import TINY, build, observations, stir

EXPERT = ExpertConfig(width=32, mlp=64, steps=3)
CASES = {
    "pi0": (EXPERT, PaligemmaConfig(size="tiny", state="none")),
    "smolvla": (
        ExpertConfig(width=32, mlp=64, steps=3, family="llama", joint_every=2, causal=True,
                     state="none"),
        SmolvlmConfig(size="tiny", layers=2),
    ),
    "openvla": (
        WordsConfig(symbols="digits", words="last"),
        PrismaticConfig(size="tiny", state="none"),
    ),
    "oft": (
        ParallelConfig(),
        PrismaticConfig(size="tiny", attention="bidirectional", readout="zero"),
    ),
    "flow": ("flow", TINY),
}  # fmt: skip
WAITS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "item"}


class NeverWait(TorchDispatchMode):
    """Refuses operators whose result the host must know."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket.__name__
        assert name not in WAITS, f"{name} waits for the device"
        if name in ("index", "index_put", "index_put_"):  # by a mask: how many is not known
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            assert not masks, f"{name} by a mask waits for the device"
        return func(*args, **(kwargs or {}))


def make(name):
    head, backbone = CASES[name]
    return stir(build(head, backbone=backbone)).eval()


def plan_with(policy, some):
    return np.stack([c.actions for c in policy.act(some, seeds=list(range(len(some))))])


def test_the_guard_sees_a_wait():
    with pytest.raises(AssertionError, match="waits for the device"), NeverWait():
        torch.ones(1).item()
    with pytest.raises(AssertionError, match="by a mask"), NeverWait():
        torch.ones(2)[torch.tensor([True, False])]


@pytest.mark.parametrize("pending", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_no_plan_waits_for_the_device(name, pending):
    policy, some = make(name), observations(2, pending=[pending] * 2)
    plan_with(policy, some)  # what is looked up once is known now
    with torch.inference_mode():
        inputs = upload(gather(policy, some, [0, 1]), policy.device)
        want = plan(policy, inputs)
        with NeverWait():
            rows = plan(policy, inputs)
    np.testing.assert_allclose(rows, want, atol=1e-5)
    assert rows.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "pi0", "openvla"])
def test_one_program_serves_all_prompts_of_a_bucket(name):
    """Dynamo only ("eager"), which decides what is compiled; inductor's kernels are torch's."""
    policy = make(name)
    some = observations(2)
    want = plan_with(policy, some)
    torch._dynamo.reset()
    counters.clear()
    policy.planner = Planner(policy, "default", backend="eager")
    np.testing.assert_allclose(plan_with(policy, some), want, atol=1e-5)
    made = counters["stats"]["unique_graphs"]
    assert made >= 1
    for text in ("put it on the table, please", "set it in the plate, please"):
        plan_with(policy, [replace(one, instruction=text) for one in some])
    assert counters["stats"]["unique_graphs"] == made
    plan_with(policy, observations(2, pending=[1, 1]))
    assert counters["stats"]["unique_graphs"] > made  # another shape, another program
    torch._dynamo.reset()


def test_rows_that_need_gradients_are_planned_as_ever():
    policy = make("flow")
    some = observations(2, pending=[1, 1], tentative=[2, 2])
    want = plan_with(policy, some)
    CompiledPolicy(policy, RuntimeConfig(compile="default"))
    assert isinstance(policy.planner, Planner)
    np.testing.assert_array_equal(plan_with(policy, some), want)  # nothing is compiled for them


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_plan_is_the_plain_one(name, mode):
    policy = make(name).cuda()
    some, others = observations(2), observations(2, seed=5)
    want, wanted = plan_with(policy, some), plan_with(policy, others)
    fast = CompiledPolicy(policy, RuntimeConfig(compile=mode))
    np.testing.assert_allclose(plan_with(fast, some), want, atol=2e-3)
    np.testing.assert_allclose(plan_with(fast, others), wanted, atol=2e-3)
    np.testing.assert_allclose(plan_with(fast, some), want, atol=2e-3)
