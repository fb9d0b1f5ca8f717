"""`vla triage` from its keys to the ranking, and what it does where experts fail."""

import json

import numpy as np
import pytest

from configs.bedside import Bedside, find_recorder
from configs.triage_job import TriageJob
from configs.verbs import triage
from envs.config import GymWorldConfig, TabletopConfig
from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from tests.vla.evaluation.test_probes import record
from vla.errors import ConfigError
from vla.runtime.config import ControlConfig
from vla.types import ActionChunk


class SamePlan:
    """Always the same small step: it has learned nothing."""

    history = 1

    def __init__(self, embodiment):
        self.embodiment = embodiment

    def act(self, observations, *, seeds):
        plan = np.full((4, len(self.embodiment.action)), 0.002, np.float32)
        return [ActionChunk(actions=plan, time=seen.time) for seen in observations]


def test_the_verb_ranks_causes_in_the_tabletop_world(monkeypatch, tmp_path, capsys):
    world = TabletopConfig(tasks=["reach"], image_size=16)
    policy = SamePlan(world.embodiment())
    monkeypatch.setattr(triage, "load_policy", lambda *_, **__: (policy, "abc"))
    triage.main(TriageJob(checkpoint="x", world=world, episodes=2, output=str(tmp_path)))
    kept = json.loads((tmp_path / "triage.json").read_text())
    assert kept["findings"][0]["cause"] == "not trained"
    assert kept["figures"]["experts"] == {"tried": 2, "succeeded": 2}
    assert kept["figures"]["replayed"]["as it is"] == 1.0
    assert kept["weights_sha256"] == "abc"
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("success 0.00; random actions 0.00; demonstrations replayed 1.00")
    assert "experts 2 of 2 scenes" in shown


def test_worlds_without_experts_and_jobs_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="has no experts"):
        find_recorder(GymWorldConfig(tasks=["CartPole-v1"]))
    with pytest.raises(ConfigError, match="at least 2 per task"):
        TriageJob(episodes=1)
    with pytest.raises(ConfigError, match="belong to demonstrations"):
        TriageJob(first_seed=7)


def visit(record_episode, **changes):
    options = {"tasks": ["touch"], "episodes": 2, "first_seed": 0, "max_steps": 60}
    return Bedside(
        build=PointConfig().build, record=record_episode, control=ControlConfig(),
        **{**options, **changes},
    )  # fmt: skip


def test_failures_of_experts_are_looked_at_only_where_there_are_no_successes():
    limits = iter([1, 60, 1, 60])
    mixed = visit(lambda world, task, seed: record(seed, max_steps=next(limits)))
    assert [t.success for t in mixed.observe_experts()] == [True, True]
    assert (mixed.tried, mixed.managed) == (4, 2)
    failing = visit(lambda world, task, seed: record(seed, max_steps=1))
    assert [t.success for t in failing.observe_experts()] == [False, False]
    assert (failing.tried, failing.managed) == (6, 0)
    chain = failing.try_chain(SeekPolicy())
    assert (chain.replayed, chain.experts) == ({}, 0.0)
    assert chain.success == 1.0


def test_without_a_policy_nobody_plays():
    bedside = visit(lambda world, task, seed: record(seed))
    bedside.observe_experts()
    chain = bedside.try_chain()
    assert (chain.success, chain.floor) == (None, None)
    assert chain.replayed["as it is"] == 1.0


def test_a_limit_that_stops_demonstrations_is_seen_in_the_replay():
    bedside = visit(lambda world, task, seed: record(seed), max_steps=1)
    bedside.observe_experts()
    replayed = bedside.try_chain().replayed
    assert replayed["as it is"] < replayed["no step limit"] == 1.0
