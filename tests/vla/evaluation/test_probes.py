import numpy as np
import pytest

from tests.vla.evaluation.fakes import EMBODIMENT, PointConfig, SeekPolicy
from vla.errors import DataError
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.probes import (
    RandomPolicy,
    ReplayPolicy,
    SeamMeter,
    mean_figures,
    measure_language_use,
    replay_demonstration,
)
from vla.evaluation.result import Evaluation
from vla.runtime.config import ControlConfig
from vla.runtime.rollout import rollout
from vla.types import Observation, Trajectory


def result(verdicts):
    return Evaluation(
        episodes=[
            EpisodeResult(
                task="touch", seed=seed, instruction="", success=bool(success), steps=1, reason="",
                first_frame="", actions="", seconds=0.0, inference_ms=0.0, plans=1,
            )
            for seed, success in enumerate(verdicts)
        ],
        setup={},
    )  # fmt: skip


def record(seed, *, policy=None, max_steps=60):
    """An episode of a seeking policy as a demonstration."""
    world = PointConfig().build("touch")
    controller = ControlConfig().build(policy or SeekPolicy())
    ticks = list(rollout(world, controller, seed=seed, max_steps=max_steps))
    seen = [tick.observation for tick in ticks]
    return Trajectory(
        images={"top": np.concatenate([o.images["top"] for o in seen])},
        state=np.concatenate([o.state for o in seen]),
        action=np.stack([tick.action for tick in ticks]),
        instruction=seen[0].instruction,
        time=np.array([o.time for o in seen]),
        success=ticks[-1].outcome.success,
    )


def test_the_language_index_is_0_for_the_deaf_and_1_for_the_expert():
    deaf = {name: result([1, 0, 1, 0]) for name in ("given", "blank", "swapped")}
    assert measure_language_use(deaf).index == 0.0
    expert = {"given": result([1, 1, 1, 1]), "paraphrased": result([1, 1, 1, 0]),
              "blank": result([0, 0, 0, 0]), "swapped": result([0, 0, 0, 0])}  # fmt: skip
    use = measure_language_use(expert)
    assert (use.index, use.paraphrase, use.n) == (1.0, 0.75, 4)


def test_the_language_index_says_when_it_knows_nothing():
    assert measure_language_use({"given": result([1])}) is None
    assert measure_language_use({"given": result([0, 0]), "blank": result([0, 0])}).index is None
    with pytest.raises(DataError, match="share no episode"):
        measure_language_use({"given": result([1]), "blank": result([])})


def test_a_replayed_demonstration_gets_there_again_and_a_cut_one_does_not():
    trajectory = record(3)
    assert trajectory.success
    world = PointConfig().build("touch")
    control = ControlConfig(execute=4)
    assert replay_demonstration(world, trajectory, seed=3, control=control, max_steps=60)
    assert not replay_demonstration(world, trajectory, seed=3, control=control, max_steps=1)


def test_replay_stands_still_at_the_end():
    trajectory = record(3)
    late = Observation(
        images={"top": trajectory.images["top"][:1]},
        state=trajectory.state[:1],
        instruction="",
        time=(len(trajectory) - 1) / EMBODIMENT.hz,
    )
    (chunk,) = ReplayPolicy(EMBODIMENT, trajectory, rows=3).act([late], seeds=[0])
    assert np.array_equal(chunk.actions[0], trajectory.action[-1])
    assert not chunk.actions[1:].any()


def test_random_actions_stay_in_bounds_and_repeat():
    policy = RandomPolicy(EMBODIMENT, rows=4)
    seen = PointConfig().build("touch").reset(seed=0)
    first, second, other = policy.act([seen] * 3, seeds=[1, 1, 2])
    assert np.array_equal(first.actions, second.actions)
    assert not np.array_equal(first.actions, other.actions)
    assert np.abs(first.actions).max() <= 0.2


def test_jerk_is_found_at_the_seams_only():
    meter = SeamMeter(EMBODIMENT)
    for plan in range(3):
        for _ in range(4):
            meter.add(np.full(2, 0.1 * (plan % 2), np.float32), plan)
    figures = meter.figures()
    assert figures["seam_jerk"] == pytest.approx(0.25)  # 0.1 of a range of 0.4
    assert figures["inner_jerk"] < figures["seam_jerk"] / 2
    assert mean_figures([{"a": 1.0}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}
