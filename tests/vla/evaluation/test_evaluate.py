import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.vla.evaluation.conftest import ROOT
from tests.vla.evaluation.fakes import EMBODIMENT, PointConfig, SeekPolicy
from vla.errors import ConfigError, DataError, EmbodimentMismatch, ShapeError, VlaError
from vla.evaluation.conditions import compare_conditions
from vla.evaluation.evaluate import evaluate
from vla.evaluation.result import Evaluation
from vla.evaluation.statistics import wilson_interval
from vla.runtime.config import AsyncControlConfig, ControlConfig, LatencyConfig
from vla.runtime.execution_config import RtcConfig
from vla.types import ActionChunk

SEEDS = list(range(1_000_000, 1_000_006))


class TorchPolicy:
    """A small convolutional network with noise drawn per observation."""

    embodiment = EMBODIMENT
    history = 2

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(6, 16, 3, stride=2),
            torch.nn.GELU(),
            torch.nn.Flatten(),
            torch.nn.Linear(16 * 49, 96),
            torch.nn.GELU(),
            torch.nn.Linear(96, 8),
        )

    @torch.no_grad()
    def act(self, observations, *, seeds):
        images = np.stack([o.images["top"].transpose(0, 3, 1, 2) for o in observations])
        x = torch.from_numpy(images.reshape(len(images), 6, 16, 16) / 255).float()
        noise = [torch.randn(8, generator=torch.Generator().manual_seed(s)) for s in seeds]
        y = 0.1 * (self.net(x) + torch.stack(noise)).view(-1, 4, 2).numpy()
        return [
            ActionChunk(actions=row, time=o.time) for row, o in zip(y, observations, strict=True)
        ]


def run(directory, policy=None, world=None, **options):
    options = {"tasks": ["touch", "press"], "seeds": SEEDS, "workers": 2, **options}
    return evaluate(
        policy or SeekPolicy(),
        world or PointConfig(),
        control=ControlConfig(execute=2),
        directory=directory,
        **{"max_steps": 30, **options},
    )


def test_outcomes_do_not_depend_on_workers(tmp_path):
    one, two = (
        run(tmp_path / str(workers), TorchPolicy(), workers=workers, tasks=["touch"], batch=4)
        for workers in (1, 3)
    )
    fixed = [(e.seed, e.success, e.steps, e.first_frame, e.actions) for e in one.episodes]
    assert fixed == [(e.seed, e.success, e.steps, e.first_frame, e.actions) for e in two.episodes]
    assert len({e.actions for e in one.episodes}) == len(SEEDS)
    assert len({e.first_frame for e in one.episodes}) == len(SEEDS)
    assert two.timing["plans"] == one.timing["plans"]


class Remembering(TorchPolicy):
    """Plans depend on what it is told of its last plan, and on who shares its batch unfairly."""

    def act(self, observations, *, seeds):
        told = {(count(o.pending), count(o.tentative)) for o in observations}
        assert len(told) == 1, told
        chunks = super().act(observations, seeds=seeds)
        return [
            ActionChunk(actions=c.actions + np.float32(0.01 * count(o.pending)), time=c.time)
            for c, o in zip(chunks, observations, strict=True)
        ]


def count(rows):
    return 0 if rows is None else len(rows)


def test_late_plans_are_the_same_for_any_number_of_workers(tmp_path):
    latency = LatencyConfig(seconds=0.1, jitter=0.1, drop=0.1)
    control = AsyncControlConfig(execution=RtcConfig(), latency=latency, stale=1.0)
    one, two = (
        evaluate(Remembering(), PointConfig(), tasks=["touch"], seeds=SEEDS, control=control,
                 directory=tmp_path / str(workers), workers=workers, batch=2, max_steps=30)
        for workers in (1, 3)
    )  # fmt: skip
    assert [e.actions for e in one.episodes] == [e.actions for e in two.episodes]
    assert len({e.actions for e in one.episodes}) == len(SEEDS)
    assert one.setup["control"]["latency"]["drop"] == 0.1


def test_everything_is_counted_and_written(tmp_path):
    policy, seen = SeekPolicy(), []
    result = run(
        tmp_path,
        policy,
        provenance={"weights": "abc"},
        progress=lambda episode, finished, total: seen.append((episode.seed, finished, total)),
    )
    assert set(policy.sizes) == {2}  # every batch is filled up
    assert [finished for _, finished, _ in seen] == list(range(1, 13))
    assert result.pooled.n == 12
    assert result.pooled.successes == sum(e.success for e in result.episodes) > 6
    assert result.tasks["touch"].rate == result.tasks["press"].rate  # the same seeds
    assert all(e.reason == ("there" if e.success else "out of steps") for e in result.episodes)
    assert result.episodes[0].instruction == "touch the dot"
    stored = json.loads((tmp_path / "result.json").read_text())
    touch = stored["tasks"]["touch"]
    assert (touch["low"], touch["high"]) == wilson_interval(touch["successes"], 6)
    assert stored["setup"]["provenance"] == {"weights": "abc"}
    assert stored["setup"]["world"]["type"] == "PointConfig"
    assert stored["setup"]["embodiment"] == EMBODIMENT.hash
    assert stored["seeds"] == SEEDS
    assert stored["timing"]["steps"] == sum(e.steps for e in result.episodes)
    assert Evaluation.load(tmp_path).episodes == result.episodes


def test_a_rerun_adds_only_what_is_missing(tmp_path):
    run(tmp_path, seeds=SEEDS[:2])
    with (tmp_path / "episodes.jsonl").open("a") as file:
        file.write('{"task": "touch", "se')  # killed while writing
    seen = []
    result = run(tmp_path, progress=lambda episode, *_: seen.append(episode.seed))
    assert sorted(seen) == sorted(SEEDS[2:] * 2)
    assert result.pooled.n == 12
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 12
    with pytest.raises(DataError, match=r"something else:\n  world: .*blank"):
        run(tmp_path, world=PointConfig(instruction="blank"))


def test_a_broken_journal_is_refused(tmp_path):
    run(tmp_path, seeds=SEEDS[:1])
    with (tmp_path / "episodes.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(DataError, match="line 3 is not an episode"):
        run(tmp_path)


def test_errors_name_the_episode_and_are_not_failures(tmp_path):
    with pytest.raises(VlaError, match=r"task='touch' seed=1000001 .*no <solution>") as caught:
        run(tmp_path, world=PointConfig(broken_seed=SEEDS[1]), workers=1)
    assert "fakes.py" in str(caught.value)  # where it happened
    kept = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in kept] == SEEDS[:1]
    with pytest.raises(DataError, match="run the evaluation to its end"):
        Evaluation.load(tmp_path)


def test_a_killed_worker_is_reported(tmp_path):
    with pytest.raises(VlaError, match=r"task='touch' seed=1000002: .*exit code -9"):
        run(tmp_path, world=PointConfig(killer_seed=SEEDS[2]), tasks=["touch"])


def test_embodiments_are_compared_before_the_first_step(tmp_path):
    with pytest.raises(EmbodimentMismatch, match=r"task='touch' seed=1000000.*\n.*hz"):
        run(tmp_path, world=PointConfig(hz=20.0), workers=1)


def test_nothing_to_run_is_refused(tmp_path):
    for options in ({"seeds": []}, {"seeds": [1, 1]}, {"workers": 0}):
        with pytest.raises(ConfigError):
            run(tmp_path, **options)


def test_conditions_are_compared_pair_by_pair(tmp_path):
    results = {
        name: run(tmp_path / name, world=PointConfig(instruction=name), tasks=["touch"])
        for name in ("given", "blank")
    }
    effect = compare_conditions(results)["blank"]
    rates = {name: result.pooled.rate for name, result in results.items()}
    assert effect.pairs.n == len(SEEDS)
    assert effect.pairs.difference == pytest.approx(rates["given"] - rates["blank"])
    assert effect.language_use == pytest.approx(1 - rates["blank"] / rates["given"])
    assert effect.language_use > 0.5
    assert effect.unlike == 0  # only the words differ
    other = replace(results["blank"].episodes[0], first_frame="another scene")
    results["blank"].episodes[0] = other
    assert compare_conditions(results)["blank"].unlike == 1


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path):
    script = f"""
        import sys
        sys.path.insert(0, {ROOT!r})
        from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
        from vla.evaluation.evaluate import evaluate
        from vla.runtime.config import ControlConfig

        if __name__ == "__main__":
            evaluate(
                SeekPolicy(),
                PointConfig(delay_s=0.01),
                control=ControlConfig(execute=2),
                directory={str(tmp_path)!r},
                tasks=["touch", "press"],
                seeds={SEEDS},
                max_steps=30,
            )
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script))
    process = subprocess.Popen([sys.executable, str(file)])
    journal = tmp_path / "episodes.jsonl"
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = journal.read_bytes()
    resumed = run(tmp_path, world=PointConfig(delay_s=0.01))
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    whole = run(tmp_path / "whole", world=PointConfig(delay_s=0.01))
    assert [e.actions for e in resumed.episodes] == [e.actions for e in whole.episodes]


def test_a_policy_that_leaves_plans_out_is_refused(tmp_path):
    class Lazy(SeekPolicy):
        def act(self, observations, *, seeds):
            return super().act(observations, seeds=seeds)[:1]

    with pytest.raises(ShapeError, match="1 plans for 2 observations"):
        run(tmp_path, Lazy())


def test_a_film_that_cannot_be_saved_is_an_error(tmp_path):
    (tmp_path / "videos").write_text("in the way")
    with pytest.raises(VlaError, match="videos"):
        run(tmp_path, videos=1, tasks=["touch"], seeds=SEEDS[:1])
