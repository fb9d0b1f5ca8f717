"""The scripts behind the evaluation's tables: what they ask for, and what they print."""

import os
import subprocess
import sys
import time
from argparse import Namespace

import pytest

from benchmarks import evaluation, sixteen, triage
from configs.launch import build_job, compose, register_schemas
from vla.evaluation.findings import CAUSES


def options(**changes):
    given = {"episodes": 25, "axis_episodes": 5, "level": 3, "tasks": "", "thirteen": False}
    return Namespace(**{**given, **changes})


@pytest.mark.timeout(400)  # composing takes a second of processor time each
def test_every_part_is_a_job_of_vla_eval():
    register_schemas()
    parts = {
        name: build_job(compose("eval", ["checkpoint=x", "output=y", *overrides]))
        for name, overrides in sixteen.list_parts(options()).items()
    }
    assert list(parts) == ["words", "compositional", "unseen", "axes"]
    assert [job.world.split for job in parts.values()] == [
        "known", "compositional", "unseen", "known",
    ]  # fmt: skip
    assert [len(job.world.tasks) for job in parts.values()] == [16, 13, 13, 16]
    axes = parts["axes"]
    assert len(axes.world.list_conditions(axes.evaluation.conditions)) == 13
    assert axes.evaluation.episodes == 5


def test_parts_follow_the_training_set_and_the_chosen_tasks():
    parts = sixteen.list_parts(options(axis_episodes=0, thirteen=True))
    assert list(parts) == ["words", "compositional", "unseen", "unseen_task"]
    assert "world=tabletop16_train" in parts["words"]
    some = sixteen.list_parts(options(tasks="bowl,order"))
    assert "world.tasks=[bowl,order]" in some["words"]
    assert "world.tasks=[bowl]" in some["unseen"]  # order has no held-out words


def rate(successes, n):
    return {"successes": successes, "n": n, "low": 0.1, "high": 0.9}


def summary(*, conditions=(), **tasks):
    pooled = rate(sum(r["successes"] for r in tasks.values()), sum(r["n"] for r in tasks.values()))
    effect = {"difference": 0.25, "p_value": 0.03, "tasks": {task: rate(1, 4) for task in tasks}}
    return {
        "tasks": tasks, "pooled": pooled, "conditions": dict.fromkeys(conditions, effect),
        "probes": {"language": {"index": 0.5, "paraphrase": None, "n": 8} if conditions else None},
    }  # fmt: skip


def test_tables_hold_what_was_measured():
    results = {
        "words": summary(conditions=["blank"], bowl=rate(3, 4), order=rate(2, 4)),
        "unseen": summary(bowl=rate(1, 4)),
        "axes": summary(conditions=["light:3"], bowl=rate(2, 2)),
    }
    lines = sixteen.tabulate(results, 3).splitlines()
    assert lines[0] == "| task | known | blank | unseen |"
    assert lines[2:4] == ["| bowl | 3/4 | 1/4 | 1/4 |", "| order | 2/4 | 1/4 |  |"]
    assert lines[4].startswith("| all | **5/8 [0.10, 0.90]** | **2/8 [")
    assert "Language-use index 0.50, paraphrased / given -, 8 scenes each." in lines
    assert lines[-1] == "| light | 1/4 [0.05, 0.70] | -25 points, p = 0.03 |"


def test_planted_faults_are_causes_that_triage_knows():
    assert {fault.cause for fault in triage.FAULTS} <= set(CAUSES)
    names = [fault.name for fault in triage.FAULTS]
    assert len(set(names)) == len(names) >= 16


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux' /proc")
def test_processor_time_of_a_whole_session_is_read_while_it_lives():
    spin = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {spin!r}])"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, start_new_session=True
    ) as leader:
        deadline = time.monotonic() + 60
        while (total := sum(evaluation.read_session(leader.pid).values())) < 0.5:
            assert time.monotonic() < deadline, total  # the child's time counts as well
            time.sleep(0.05)
        leader.communicate(b"\n")
    assert evaluation.read_session(leader.pid) == {}


def test_a_side_tells_its_result_or_stops_the_benchmark(tmp_path):
    told = "import json; print('noise'); print(json.dumps({'episodes': 2}))"
    result = evaluation.run_side([sys.executable, "-S", "-c", told], tmp_path / "began")
    assert result["episodes"] == 2
    assert result["cpu_seconds_per_episode"] >= 0
    with pytest.raises(SystemExit, match="ended with status 3"):
        evaluation.run_side([sys.executable, "-S", "-c", "raise SystemExit(3)"], tmp_path / "x")
