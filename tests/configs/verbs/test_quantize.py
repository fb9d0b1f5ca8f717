"""`vla quantize` on an untrained policy: what passes is written and loads, what errs is not."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import policies.quantize.quantizer as quantizer
from configs.quantize_job import QuantizeJob
from configs.restoring import dump_config, load_policy
from configs.verbs import quantize as verb
from policies.compiled import CompiledPolicy
from policies.quantize.config import Int8Config, RuntimeConfig
from policies.quantize.linears import Int8Linear
from policies.quantize.quantizer import count_bytes
from tests.policies.quantize.test_quantizer import BACKBONE, LEAST
from tests.policies.samples import EMBODIMENT, build, observations, stir
from vla.errors import ConfigError, ExportRefused
from vla.evaluation.noninferiority import judge_noninferiority
from vla.training.checkpoint import CheckpointFolder, CheckpointMeta, TrainingState
from vla.training.weights import module_tensors


@pytest.fixture
def job(tmp_path, monkeypatch):
    policy = stir(build("regression", backbone=BACKBONE)).eval()
    folder = CheckpointFolder(tmp_path / "run")
    meta = CheckpointMeta(
        config_yaml=dump_config(policy.config), contract={"embodiment": EMBODIMENT.to_json()}
    )
    state = TrainingState(raw={}, optimizer={}, state={"training": {}, "precision": "float32"})
    folder.write(1, meta=meta, weights=module_tensors(policy), training=state)

    class Store:
        location, embodiment = "made up", EMBODIMENT

        def split(self, name, held_out):
            return np.arange(2)

    monkeypatch.setattr("vla.data.store.TrajectoryStore.open", lambda path: Store())
    monkeypatch.setattr(
        "vla.evaluation.action_error.draw_observations",
        lambda store, episodes, count, **_: observations(count, seed=count),
    )
    return QuantizeJob(
        checkpoint=str(tmp_path / "run"), recipe=Int8Config(least=LEAST), store="made up",
        calibration=8, judged=4, closed_loop=False, device="cpu", output=str(tmp_path / "small"),
    )  # fmt: skip


def load(path):
    return load_policy(str(path), device="cpu", embodiment=EMBODIMENT)[0]


def plan(policy, some):
    return np.stack([c.actions for c in policy.act(some, seeds=[0] * len(some))])


def test_what_passes_is_written_and_loads_everywhere_a_checkpoint_does(job, tmp_path):
    verb.main(job)
    small, big = load(job.output), load(job.checkpoint)
    some = observations(3)
    assert count_bytes(small) < 0.75 * count_bytes(big)
    assert not any(p.is_meta for p in small.parameters())
    difference = np.abs(plan(small, some) - plan(big, some))
    assert 0 < difference.mean() < 0.002
    told = json.loads((tmp_path / "small" / "contract.json").read_text())["quantization"]
    assert told["gate"]["passed"]
    assert told["gate"]["closed_loop"] is None  # and says so
    assert told["recipe"] == asdict(job.recipe)
    with pytest.raises(ConfigError, match="quantized already"):
        verb.main(replace(job, checkpoint=job.output, output=f"{tmp_path}/again"))


def test_what_stands_at_the_output_is_never_replaced(job, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for output in (job.checkpoint, tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ConfigError, match="exists"):
            verb.main(replace(job, output=str(output)))
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert load(job.checkpoint)


@pytest.mark.parametrize("option", ["calibration", "judged", "action_limit", "margin"])
def test_nothing_goes_unjudged_by_a_slip(job, option):
    with pytest.raises(ConfigError, match=option):
        replace(job, **{option: 0})


def test_a_broken_quantizer_is_rejected_unless_overridden(job, tmp_path, monkeypatch):
    encode, spoilt = Int8Linear.encode, []

    def spoil(self, weight):
        encode(self, weight)
        spoilt[:] = spoilt or [weight.shape]
        if weight.shape == spoilt[0]:  # the first layer and its like, however often it is tried
            self.scale *= 2

    monkeypatch.setattr(Int8Linear, "encode", spoil)
    with pytest.raises(ExportRefused, match=r"layers? err by more than"):
        verb.main(job)
    assert not (tmp_path / "small").exists()
    assert not json.loads((tmp_path / "small-gate" / "gate.json").read_text())["passed"]
    verb.main(replace(job, override=True))
    gate = json.loads((tmp_path / "small" / "contract.json").read_text())["quantization"]["gate"]
    assert gate["override"]
    assert gate["faults"]


def test_plans_alone_reject_a_broken_quantizer_too(job, monkeypatch):
    """Even if the layers' own errors were reported as small."""
    convert = quantizer._convert

    def spoil(name, layer, recipe, inputs):
        made, report = convert(name, layer, recipe, inputs)
        if name == "backbone.shortcut.2":
            made.scale *= 2
            made._packed = None
        return made, report

    monkeypatch.setattr(quantizer, "_convert", torch.no_grad()(spoil))
    with pytest.raises(ExportRefused, match="1 % of the actions err"):
        verb.main(job)


def test_a_loss_in_closed_loop_is_rejected(job, monkeypatch):
    lost = judge_noninferiority({i: i > 9 for i in range(200)}, dict.fromkeys(range(200), True))
    monkeypatch.setattr(verb, "try_closed_loop", lambda *_: lost)
    with pytest.raises(ExportRefused, match="not shown to be non-inferior"):
        verb.main(replace(job, closed_loop=True))


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_runtime_comes_back_with_the_checkpoint(job, engine):
    if engine == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed (extra: quantize)")
    runtime = RuntimeConfig(engine=engine, threads=1, channels_last=True)
    recipe = Int8Config(least=LEAST, runtime=runtime)
    verb.main(replace(job, recipe=recipe))
    policy = load(job.output)
    assert isinstance(policy, CompiledPolicy)
    assert policy.embodiment == EMBODIMENT
    plain = plan(load(job.checkpoint), observations(2))
    assert np.abs(plan(policy, observations(2)) - plain).mean() < 0.002
