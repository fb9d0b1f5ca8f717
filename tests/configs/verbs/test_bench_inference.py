"""`vla bench inference` on presets small enough for a CPU."""

import json
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from configs.bench_inference_job import BenchInferenceJob
from configs.launch import build_job, compose, launch, register_schemas
from configs.verbs.bench_inference import judge
from policies.checkpoints.lerobot_export import choose_type
from vla.errors import ConfigError
from vla.evaluation.latency_report import HEADINGS, ROW, show

SMALL = (
    "overrides={tiny_act: ['policy.backbone.width=32', 'policy.backbone.channels=8', "
    "'policy.backbone.blocks=2', 'policy.head.width=32', 'policy.head.layers=1']}"
)


def test_rows_phases_errors_and_pages(tmp_path, capsys):
    launch("bench inference", [
        "policies=[tiny_act]", SMALL, "dtypes=[bfloat16,float32,int8]", "batches=[1,2]",
        "calls=3", "warmup=1", "seconds=1", "image=[32,40]", "targets={tiny_act: 5}",
        "device=cpu", f"output={tmp_path}",
    ])  # fmt: skip
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    kept = json.loads((tmp_path / "inference.json").read_text())
    assert kept["rows"] == told["rows"]
    rows = {(row["dtype"], row["batch"]): row for row in told["rows"]}
    assert set(rows) == {(d, b) for d in ("float32", "bfloat16", "int8") for b in (1, 2)}
    for row in rows.values():
        assert set(ROW) <= set(row)
        assert row["n"] == 3
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert rows["float32", 1]["error_max"] == 0
    assert rows["bfloat16", 1]["error_max"] > 0
    assert 0 < rows["int8", 2]["error_max"] < 1
    assert rows["int8", 1]["weights_mb"] < rows["float32", 1]["weights_mb"]
    phases = rows["float32", 1]["phases"]
    assert list(phases) == ["preprocess", "vision", "prefill", "action"]
    total = sum(p["floor_ms"] for p in phases.values())
    assert total == pytest.approx(rows["float32", 1]["floor_ms"])
    assert phases["vision"]["gflop"] > 0
    assert rows["float32", 1]["verdict"] == "5 ms on H200: not measured"
    assert rows["float32", 2]["verdict"] == ""
    assert told["roofline"]["rates"]["float32"] > 0
    text = (tmp_path / "inference.md").read_text()
    assert text.count("| tiny_act |") == 6 + 3 * 5
    assert "not measured" in (tmp_path / "inference.html").read_text()
    assert all(len(show(row)) == len(HEADINGS) for row in told["rows"])


def test_a_verdict_needs_the_device_it_is_meant_for():
    job = BenchInferenceJob(policies=["pi0"], targets={"pi0": 20.0}, output="x")
    row = {"policy": "pi0", "batch": 1, "p99_ms": 19.0}
    assert judge(job, row, "NVIDIA H200") == "20 ms: met"
    assert judge(job, {**row, "p99_ms": 21.0}, "NVIDIA H200") == "20 ms: missed"
    assert judge(job, row, "NVIDIA RTX 4090") == "20 ms on H200: not measured"


def test_the_four_classes_compose():
    register_schemas()
    job = build_job(compose("bench inference", ["inference=h200"]))
    assert set(job.targets) == set(job.policies) == set(job.cameras)
    assert job.peers
    for name, kind in (("pi0", "pi0"), ("smolvla", "smolvla")):
        words = [f"policy={name}", *job.overrides[name]]
        policy = SimpleNamespace(config=OmegaConf.to_object(compose("train", words).policy))
        policy.config.backbone.name = ""
        assert choose_type(policy) == kind


@pytest.mark.parametrize(
    "words", [{"dtypes": ["float16"]}, {"modes": ["fast"]}, {"batches": [0]}, {"policies": []}]
)
def test_what_cannot_be_measured_is_refused(words):
    with pytest.raises(ConfigError):
        BenchInferenceJob(**{"policies": ["tiny"], "output": "x", **words})
