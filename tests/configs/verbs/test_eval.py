from dataclasses import dataclass, field

import pytest

import configs.verbs.eval as eval_verb
from configs.compare_job import CompareJob
from configs.jobs import EvalJob
from configs.verbs import compare
from tests.vla.evaluation.conftest import ROOT
from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from vla.errors import DataError
from vla.evaluation.config import EvaluationConfig
from vla.runtime.config import ControlConfig


@dataclass(kw_only=True, slots=True)
class PointTasks(PointConfig):
    tasks: list[str] = field(default_factory=lambda: ["touch", "press"])

    def list_conditions(self, names):
        return list(names)

    def list_groups(self):
        return {}


class IdlePolicy(SeekPolicy):
    def _plan(self, observation, seed):
        plan = SeekPolicy._plan(self, observation, seed)
        plan.actions[:] = 0
        return plan


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT)  # spawned workers unpickle the fake world

    def run(name, policy, **changes):
        monkeypatch.setattr(eval_verb, "load_policy", lambda path, **_: (policy, name))
        world = PointTasks(**changes)
        options = EvaluationConfig(episodes=8, workers=1, max_steps=40, videos=0)
        control = ControlConfig(execute=2)
        output = str(tmp_path / name)
        eval_verb.main(EvalJob(checkpoint=name, world=world, control=control,
                               evaluation=options, output=output))  # fmt: skip
        return output

    return run


def test_two_checkpoints_are_evaluated_and_compared(evaluate, tmp_path, capsys):
    runs = [evaluate("seek", SeekPolicy()), evaluate("idle", IdlePolicy())]
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("16 episodes: another run on the same seeds must differ by")
    compare.main(CompareJob(runs=runs, output=str(tmp_path / "out")))
    shown = " ".join(capsys.readouterr().out.split())
    assert "seek is better than idle by" in shown
    assert "16 shared episodes" in shown
    other = evaluate("elsewhere", SeekPolicy(), delay_s=0.001)
    with pytest.raises(DataError, match=r"same scenes: world\.delay_s is 0"):
        compare.main(CompareJob(runs=[runs[0], other], output=str(tmp_path / "out")))
