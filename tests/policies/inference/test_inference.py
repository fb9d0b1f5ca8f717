"""What a plan costs is counted, not guessed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from policies.backbones.language_config import PaligemmaConfig, PrismaticConfig
from policies.config import VlaPolicyConfig
from policies.heads.config_expert import ExpertConfig
from policies.heads.config_language import ParallelConfig
from policies.inference.phases import PHASES, Scopes, make_clock, watch
from policies.inference.random_weights import build_random
from policies.inference.roofline import Roofline, measure_roofline
from policies.inference.stopwatch import PeakMemory, measure_error, split_plan, time_plans
from policies.inference.traffic import Traffic
from policies.quantize.config import Int8WeightsConfig
from policies.quantize.linears import VNNI, Int8Linear
from policies.quantize.quantizer import quantize
from tests.policies.samples import EMBODIMENT, build, observations, stir

CPU = torch.device("cpu")
FLAT = Roofline(device="none", bandwidth=1e9, rates={"float32": 1e9})


def test_phases_are_exclusive_and_add_up():
    ticks = iter(np.arange(100.0)[:, None])
    scopes = Scopes(lambda: next(ticks))
    with scopes.phase("preprocess"), scopes.phase("prefill"):  # noqa: SIM117
        with scopes.phase("vision"):
            pass
    # in order: preprocess, prefill, vision, prefill again, preprocess again: one tick each
    spent = {name: scopes.totals[name][0] for name in PHASES}
    assert spent == {"preprocess": 2, "prefill": 2, "vision": 1, "action": 0}


def test_a_watched_policy_plans_alike_and_is_left_as_it_was():
    policy, some = stir(build("flow")).eval(), observations(1)
    want = policy.act(some, seeds=[0])[0].actions
    before = set(vars(policy)) | set(vars(policy.head)) | set(vars(policy.backbone))
    clock = Scopes(make_clock(CPU))
    with watch(policy, clock):
        np.testing.assert_array_equal(policy.act(some, seeds=[0])[0].actions, want)
    assert set(vars(policy)) | set(vars(policy.head)) | set(vars(policy.backbone)) == before
    assert all(clock.totals[name][0] > 0 for name in PHASES)


@torch.inference_mode()
def test_operations_and_bytes_of_a_layer():
    layer, rows = nn.Linear(32, 64), torch.ones(3, 32)
    for times in (1, 2):
        with Traffic(layer) as traffic:
            for _ in range(times):
                layer(rows)
        assert traffic.flops == times * 2 * 3 * 32 * 64
        assert traffic.bytes == times * 4 * (32 * 64 + 64)


@torch.inference_mode()
def test_bytes_of_what_is_looked_up_and_of_codes():
    words = nn.Embedding(100, 8)
    with Traffic(words) as traffic:
        words(torch.tensor([1, 2]))
    assert (traffic.flops, traffic.bytes) == (0, 2 * 8 * 4)
    if VNNI:
        layer = Int8Linear(32, 64, bias=False)
        layer.fill(nn.Linear(32, 64, bias=False))
        with Traffic(layer) as traffic:
            layer(torch.ones(1, 3, 32))
        assert traffic.flops == 2 * 3 * 32 * 64
        assert traffic.bytes >= 32 * 64


def test_steps_read_the_head_each_time():
    few, many = (build("flow") for _ in "ab")
    many.head.process.steps = 2 * few.head.process.steps
    parts = [
        split_plan(policy.eval(), policy.act, observations(1), device=CPU, roofline=FLAT,
                   dtype="float32", calls=1)
        for policy in (few, many)
    ]  # fmt: skip
    assert parts[1]["prefill"]["gflop"] == parts[0]["prefill"]["gflop"]
    assert 1.8 < parts[1]["action"]["weights_mb"] / parts[0]["action"]["weights_mb"] < 2.01
    for part in parts[0].values():
        floor = max(part["gflop"], 1e-3 * part["weights_mb"])
        np.testing.assert_allclose(part["floor_ms"], 1e3 * floor)


def test_the_device_is_measured():
    found = measure_roofline(CPU, seconds=0.02)
    assert {"float32", "bfloat16"} <= set(found.rates)
    assert found.bandwidth > 1e8
    assert min(found.rates.values()) > 1e8


def test_plans_are_timed_and_memory_is_seen():
    policy = build("regression").eval()
    timing = time_plans(policy, observations(1), device=CPU, warmup=1, calls=50, seconds=0.0)
    assert timing.n == 3
    assert 0 < timing.p50_ms <= timing.p99_ms
    memory = PeakMemory(CPU)
    block = torch.ones(50_000_000)
    before = memory.read()
    del block
    assert before > 200
    assert measure_error([np.ones((2, 3))], [np.zeros((2, 3))]) == {
        "error_max": 1.0,
        "error_mean": 1.0,
    }


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        (PaligemmaConfig(size="tiny", state="none"), ExpertConfig(width=32, mlp=64, steps=3)),
        (PrismaticConfig(size="tiny", attention="bidirectional", readout="zero"), ParallelConfig()),
    ],
    ids=["pi0", "oft"],
)
def test_random_weights_are_the_same_numbers_in_every_format(backbone, head):
    config = VlaPolicyConfig(horizon=4, backbone=backbone, head=head)
    free = tuple(replace(a, unit="rad", low=-99, high=99) for a in EMBODIMENT.action)
    body = replace(EMBODIMENT, action=free)  # bounds would hide differences
    wide, narrow = (
        build_random(config, body, dtype=dtype, device=CPU)
        for dtype in (torch.float32, torch.bfloat16)
    )
    for (name, one), other in zip(wide.named_parameters(), narrow.parameters(), strict=True):
        assert one.device == CPU
        assert torch.equal(one.to(other.dtype), other), name
    assert {p.dtype for p in narrow.backbone.decoder.parameters()} == {torch.bfloat16}
    some = observations(2)
    plans = [
        np.stack([c.actions for c in policy.act(some, seeds=[0, 1])]) for policy in (wide, narrow)
    ]
    assert plans[0].std() > 0
    assert 0 < np.abs(plans[0] - plans[1]).mean() < 0.1
    before = narrow.act(some, seeds=[0, 1])
    quantize(narrow, Int8WeightsConfig(least=1024), [])
    after = narrow.act(some, seeds=[0, 1])
    assert 0 < np.abs(after[0].actions - before[0].actions).mean() < 0.2
