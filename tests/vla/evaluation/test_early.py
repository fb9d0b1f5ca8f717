"""Tasks that are decided need no more episodes; the result does not depend on the processes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from tests.vla.evaluation.test_probes import result
from vla.errors import ConfigError, DataError
from vla.evaluation.config import EvaluationConfig
from vla.evaluation.early import EarlyFinish
from vla.evaluation.episode_queue import EpisodeQueue
from vla.evaluation.evaluate import evaluate
from vla.evaluation.result import Evaluation
from vla.runtime.config import ControlConfig

SEEDS = list(range(30))


def finish(reference=False, tasks=("easy", "hard"), **options):
    known = {(task, seed): reference for task in tasks for seed in SEEDS}
    return EarlyFinish(known, tasks=tasks, seeds=SEEDS, **options)


def end(task, seed, success):
    return replace(result([success]).episodes[0], task=task, seed=seed)


def test_a_task_is_decided_in_the_order_of_its_seeds_whichever_ends_first():
    early = finish()
    for seed in reversed(SEEDS):  # seed 0 ends last: until then nothing counts
        assert not early.decided("easy")
        early.add(end("easy", seed, True))
    assert early.decided("easy")
    counted = early.count("easy")
    assert 5 < len(counted) < 20
    assert counted == SEEDS[: len(counted)]
    again = finish()
    for seed in counted:
        again.add(end("easy", seed, True))
    assert again.decided("easy")
    assert again.to_json() == early.to_json()
    assert early.to_json()["easy"]["winner"] == "this"
    assert early.to_json()["hard"] == {"winner": None, "pairs": 0, "p_value": 1.0}
    assert early.count("hard") == SEEDS


def test_equals_are_seldom_told_apart_and_alpha_is_shared_among_tasks():
    rng, named = np.random.default_rng(0), 0
    for _ in range(200):
        known = {("t", seed): bool(rng.integers(2)) for seed in SEEDS}
        early = EarlyFinish(known, tasks=["t"], seeds=SEEDS, alpha=0.1)
        for seed in SEEDS:
            early.add(end("t", seed, bool(rng.integers(2))))
        named += early.decided("t")
    assert named <= 0.1 * 200 + 3 * np.sqrt(200 * 0.1 * 0.9)
    ends = {}
    for tasks in (("easy",), tuple("abcdefgh")):
        early = finish(tasks=tasks)
        for seed in SEEDS:
            early.add(end(tasks[0], seed, True))
        ends[len(tasks)] = len(early.count(tasks[0]))
    assert ends[8] > ends[1]


def test_what_is_missing_and_what_makes_no_sense_is_refused():
    with pytest.raises(DataError, match=r"lacks 30 of the episodes, \('new', 0\) first"):
        EarlyFinish({}, tasks=["new"], seeds=SEEDS)
    with pytest.raises(ConfigError, match="single local run"):
        EvaluationConfig(against="runs/a", conditions=["given", "blank"])
    with pytest.raises(ConfigError, match=r"alpha is 1\.5"):
        EvaluationConfig(alpha=1.5)


def test_the_queue_leaves_out_what_is_decided():
    done = set()
    queue = EpisodeQueue([(t, s) for t in "ab" for s in (1, 2, 3)], done.__contains__)
    assert queue.take(None) == ("a", 1)
    assert queue.take("a") == ("a", 2)
    done.add("a")
    assert queue.take("a") == ("b", 1)
    assert len(queue) == 2
    done.add("b")
    assert queue.take("b") is None


@pytest.mark.timeout(400)  # it starts processes, and a machine may be busy
def test_an_evaluation_stops_tasks_and_goes_on_with_the_others(tmp_path):
    """The reference never succeeds at "touch" and always at "press"; the policy is good at both."""
    known = {(task, seed): task == "press" for task in ("touch", "press") for seed in SEEDS}
    runs = {}
    for workers in (1, 2):
        early = EarlyFinish(known, tasks=["touch", "press"], seeds=SEEDS)
        runs[workers] = evaluate(
            SeekPolicy(), PointConfig(), tasks=["touch", "press"], seeds=SEEDS, early=early,
            control=ControlConfig(execute=2), directory=tmp_path / str(workers), workers=workers,
            max_steps=40,
        )  # fmt: skip
    rates = runs[1].tasks
    assert rates["touch"].n < len(SEEDS) == rates["press"].n
    assert runs[1].verdicts == runs[2].verdicts
    again = Evaluation.load(tmp_path / "1")
    assert again.verdicts == runs[1].verdicts
    assert again.to_json()["seeds"] == SEEDS
