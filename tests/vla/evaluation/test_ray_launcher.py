import multiprocessing
import os
import signal
import sys

import pytest

from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from vla.errors import ConfigError
from vla.evaluation.config import EvaluationConfig
from vla.evaluation.evaluate import evaluate
from vla.evaluation.ray_launcher import RayPool, Shard
from vla.runtime.config import ControlConfig

SEEDS = range(1_000_000, 1_000_006)
OPTIONS = {"tasks": ["touch"], "seeds": SEEDS, "control": ControlConfig(), "max_steps": 30}


class DiesOnce:
    """Loads the policy, but its first process is killed while it does."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __call__(self):
        if not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return SeekPolicy()


def spread(folder):
    """Evaluate on a cluster of this machine, in `folder`."""
    shard = Shard(
        factory=DiesOnce(folder / "died"), world=PointConfig(), control=ControlConfig(),
        batch=2, threads=0, max_steps=30,
    )  # fmt: skip
    pool = RayPool(shard=shard, workers=2, size=3)
    there = evaluate(
        SeekPolicy(), PointConfig(), directory=folder / "there", launch=pool, **OPTIONS
    )
    assert pool.timing.steps == sum(e.steps for e in there.episodes)


@pytest.mark.slow
def test_a_cluster_gives_the_episodes_of_one_machine_though_a_worker_dies(tmp_path, monkeypatch):
    """In a process of its own: Ray may end one that it was used in, even after its shutdown."""
    pytest.importorskip("ray", reason="the cluster launcher needs Ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", *sys.path)))
    process = multiprocessing.get_context("spawn").Process(target=spread, args=(tmp_path,))
    process.start()
    process.join(110)
    assert process.exitcode == 0
    assert (tmp_path / "died").exists()
    kept = (tmp_path / "there" / "episodes.jsonl").read_text()
    assert len(kept.splitlines()) == len(SEEDS)
    here, there = (
        evaluate(SeekPolicy(), PointConfig(), directory=tmp_path / name, workers=1, **OPTIONS)
        for name in ("here", "there")
    )
    assert (tmp_path / "there" / "episodes.jsonl").read_text() == kept  # nothing was run again
    assert [e.actions for e in here.episodes] == [e.actions for e in there.episodes]
    assert here.tasks == there.tasks


def test_an_unknown_launcher_is_refused():
    with pytest.raises(ConfigError, match="launcher"):
        EvaluationConfig(launcher="slurm")
