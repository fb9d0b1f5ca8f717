"""`vla reproduce` on what `vla eval` has written."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import configs.verbs.eval as eval_verb
from configs.jobs import EvalJob
from configs.reproduce_job import ReproduceJob
from configs.schemas import GROUPS
from configs.verbs import reproduce
from tests.vla.evaluation.conftest import ROOT
from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from vla.errors import CheckpointError, ConfigError, DataError, UnknownChoice
from vla.evaluation.config import EvaluationConfig

pytestmark = pytest.mark.timeout(400)  # it starts processes, and a machine may be busy

EPISODE = "touch:1000001"


@dataclass(kw_only=True, slots=True)
class PointTasks(PointConfig):
    tasks: list[str] = field(default_factory=lambda: ["touch"])

    def list_conditions(self, names):
        return list(names)

    def list_groups(self):
        return {}

    def under(self, condition):
        return PointTasks(tasks=self.tasks, instruction=condition)


class DriftingPolicy(SeekPolicy):
    def _plan(self, observation, seed):
        plan = super()._plan(observation, seed)
        plan.actions[:] *= np.float32(0.9)
        return plan


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small evaluation, made once; the loader gives out what `holds` says."""
    holds = {"policy": SeekPolicy(), "weights": "abc"}

    def load(path, **_):
        return holds["policy"], holds["weights"]

    options = EvaluationConfig(
        episodes=2, workers=1, max_steps=30, videos=0, conditions=["given", "blank"]
    )
    output = str(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)  # spawned workers unpickle the fake world
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setitem(GROUPS["world"], "point", PointTasks)
        for verb in (eval_verb, reproduce):
            patch.setattr(verb, "load_policy", load)
        eval_verb.main(
            EvalJob(checkpoint="x", world=PointTasks(), evaluation=options, output=output)
        )
        yield output, holds


@pytest.mark.parametrize(
    ("condition", "outcome"), [("given", "success"), ("blank", "failure (out of steps) after 30 ")]
)
def test_an_episode_is_repeated_bit_by_bit(run, capsys, condition, outcome):
    folder, _ = run
    capsys.readouterr()
    reproduce.main(ReproduceJob(run=f"{folder}/report.html", episode=EPISODE, condition=condition))
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"{EPISODE}: {outcome}")
    assert "Same outcome, same actions" in shown


def test_what_differs_is_told_and_ends_with_status_one(run, capsys, monkeypatch):
    folder, holds = run
    capsys.readouterr()
    monkeypatch.setitem(holds, "policy", DriftingPolicy())
    with pytest.raises(SystemExit) as ended:
        reproduce.main(ReproduceJob(run=folder, episode=EPISODE))
    assert ended.value.code == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "actions: then" in shown
    assert "the policy is not repeatable" in shown


def test_wrong_weights_episodes_and_folders_are_refused(run, tmp_path, monkeypatch):
    folder, holds = run
    with pytest.raises(UnknownChoice, match="touch:1000000"):
        reproduce.main(ReproduceJob(run=folder, episode="touch:7"))
    with pytest.raises(DataError, match=r"job\.json does not exist"):
        reproduce.main(ReproduceJob(run=str(tmp_path), episode=EPISODE))
    with pytest.raises(ConfigError, match="TASK:SEED"):
        ReproduceJob(run=folder, episode="touch")
    monkeypatch.setitem(holds, "weights", "def")
    with pytest.raises(CheckpointError, match="holds other weights now"):
        reproduce.main(ReproduceJob(run=folder, episode=EPISODE))
