"""The bench verb around its stages; the stages have tests of their own."""

import json

import pytest
from omegaconf import OmegaConf

from configs.bench_job import BenchPoliciesJob
from configs.launch import register_schemas
from configs.verbs import bench_policies
from tests.configs.verbs.test_train import make_store
from tests.policies.samples import EMBODIMENT
from vla.errors import ConfigError, UnknownChoice, VlaError


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Stages that only write what the next ones read; the list of those that ran."""
    register_schemas()
    make_store(tmp_path / "store", EMBODIMENT)
    ran = []

    def run_stage(stage, command):
        ran.append((stage, command))
        if stage == "eval":
            (folder,) = (word.removeprefix("output=") for word in command if "output=" in word)
            rate = {"successes": 1, "n": 4}
            summary = {"tasks": {"reach": rate}, "pooled": rate}
            path = tmp_path / folder
            path.mkdir(parents=True)
            (path / "summary.json").write_text(json.dumps(summary))

    monkeypatch.setattr(bench_policies, "run_stage", run_stage)
    monkeypatch.setattr(
        bench_policies, "measure_steps", lambda job, words: {"steps": 40, "samples_per_s": 9.0}
    )
    monkeypatch.setattr(
        bench_policies, "measure_latency", lambda *_: ({"p50": 1.0, "p99": 2.0}, 1000)
    )
    return ran


def make_job(tmp_path, **options):
    given = {"policies": ["tiny_act", "tiny_pi0_fast"], "seeds": [0, 1], **options}
    return BenchPoliciesJob(store=str(tmp_path / "store"), output=str(tmp_path / "out"), **given)


def test_runs_once_and_goes_on(tmp_path, stages, capsys):
    bench_policies.main(make_job(tmp_path))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {line["preset"]: line["n"] for line in last["lines"]} == {
        "tiny_act": 8, "tiny_pi0_fast": 8,
    }  # fmt: skip
    assert [stage for stage, _ in stages].count("train") == 4
    words = [command for stage, command in stages if stage == "train"]
    assert all("training.steps=40" in command for command in words)
    (fast,) = {word for command in words for word in command if ".fast=" in word}
    assert fast.startswith("policy.head.fast=")
    before = len(stages)
    bench_policies.main(make_job(tmp_path))
    later = stages[before:]
    assert {stage for stage, _ in later} <= {"data tokenizer"}  # stubbed: it left no folder
    assert (tmp_path / "out" / "league.html").exists()


def test_other_settings_are_not_mixed_in(tmp_path, stages):
    bench_policies.main(make_job(tmp_path, policies=["tiny_act"], seeds=[0]))
    with pytest.raises(VlaError, match=r"episodes: 20 then, 7 now"):
        bench_policies.main(make_job(tmp_path, policies=["tiny_act"], seeds=[0], episodes=7))


def test_unknown_presets_and_empty_budgets_are_refused(tmp_path, stages):
    with pytest.raises(UnknownChoice, match="tiny_act"):
        bench_policies.main(make_job(tmp_path, policies=["tiny_ackt"]))
    for wrong in ({"seconds": 0}, {"episodes": 0}, {"seeds": []}, {"seeds": [1, 1]}):
        with pytest.raises(ConfigError):
            make_job(tmp_path, **wrong)


def test_words_that_want_a_folder_are_found():
    node = OmegaConf.create({"head": {"words": {"symbols": "fast", "fast": ""}, "x": 1}})
    assert bench_policies.find_fast(node, "policy") == ["policy.head.words.fast"]
    node.head.words.fast = "there"
    assert bench_policies.find_fast(node, "policy") == []
