"""Meta-World: groups, words, seeds, several worlds in one process, the experts."""

import os

import numpy as np
import pytest

from envs.benchmarks.config import MetaworldConfig
from envs.benchmarks.demonstrations import Push, record_benchmark_episode
from envs.benchmarks.metaworld_tasks import DIFFICULTIES, MT10, SUITES, TASKS, find_instruction
from vla.errors import ConfigError, UnknownChoice
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.result import Evaluation

pytest.importorskip("metaworld", reason="extra metaworld is not installed")


def test_tasks_and_groups_are_those_of_the_field():
    import json
    from importlib.util import find_spec
    from pathlib import Path

    from metaworld.env_dict import ALL_V3_ENVIRONMENTS, MT10_V3

    assert set(TASKS) == set(ALL_V3_ENVIRONMENTS)
    assert tuple(MT10_V3) == MT10
    path = Path(find_spec("lerobot").origin).parent / "envs" / "metaworld_config.json"
    public = json.loads(path.read_text())["DIFFICULTY_TO_TASKS"]
    assert {level: set(SUITES[level]) for level in DIFFICULTIES} == {
        level: set(tasks) for level, tasks in public.items()
    }
    assert [len(SUITES[level]) for level in DIFFICULTIES] == [28, 11, 6, 5]


def test_only_our_words_tell_all_tasks_apart():
    ours = {find_instruction(task, "distinct") for task in TASKS}
    public = {find_instruction(task, "lerobot") for task in TASKS}
    assert (len(ours), len(public)) == (50, 49)
    assert find_instruction("push-v3", "lerobot") == find_instruction("push-back-v3", "lerobot")


def test_names_stand_for_several_tasks():
    config = MetaworldConfig(tasks=["hard", "push-v3", "reach-v3"])
    assert config.tasks == [*SUITES["hard"], "reach-v3"]
    assert config.list_groups() == {"easy": ["reach-v3"], "hard": list(SUITES["hard"])}
    for wrong in ({"tasks": ["push-v2"]}, {"words": "german"}, {"cameras": ["corner4"]}):
        with pytest.raises(UnknownChoice):
            MetaworldConfig(**wrong)
    for wrong in ({"image_size": 4}, {"cameras": []}, {"horizon": 0}, {"tasks": []}):
        with pytest.raises(ConfigError):
            MetaworldConfig(**wrong)


def test_the_average_of_the_field_is_the_mean_of_groups():
    def episode(task, success):
        return EpisodeResult(
            task=task, seed=0, instruction="", success=success, steps=1, reason="", first_frame="",
            actions="", seconds=0.0, inference_ms=0.0, plans=1,
        )  # fmt: skip

    config = MetaworldConfig(tasks=["reach-v3", "door-open-v3", "door-lock-v3", "push-v3"])
    won = {"reach-v3": True, "door-open-v3": True, "door-lock-v3": True, "push-v3": False}
    result = Evaluation(episodes=[episode(*item) for item in won.items()], setup={})
    assert result.mean_rate == 0.75
    means = result.mean_groups(config.list_groups())
    assert means == {"easy": 1.0, "hard": 0.0, "mean_of_groups": 0.5}
    assert result.mean_groups({}) == {}


def test_worlds_in_one_process_do_not_disturb_each_other():
    config = MetaworldConfig(tasks=["drawer-open-v3", "door-open-v3"], image_size=48)
    drawer = config.build("drawer-open-v3")
    alone = drawer.reset(seed=3).images["corner2"]
    door = config.build("door-open-v3")
    between = door.reset(seed=3).images["corner2"]
    np.testing.assert_array_equal(drawer.reset(seed=3).images["corner2"], alone)
    assert np.abs(alone.astype(int) - between).mean() > 3
    drawer.close()
    np.testing.assert_array_equal(door.reset(seed=3).images["corner2"], between)
    door.close()


def test_the_expert_succeeds_and_its_actions_repeat_the_episode():
    config = MetaworldConfig(tasks=["drawer-close-v3"], image_size=32, horizon=150)
    world, expert = config.build("drawer-close-v3"), config.find_expert("drawer-close-v3")
    episode = record_benchmark_episode(world, expert, seed=2**32)
    assert episode.success
    assert episode.images["corner2"].shape == (len(episode), 32, 32, 3)
    assert episode.state.shape[1] == episode.action.shape[1] == 4
    assert np.abs(episode.action).max() <= 1
    assert {name: rows.shape[1] for name, rows in episode.labels.items()} == {
        "target": 2, "target_offset": 3, "goal": 2, "goal_offset": 3,
    }  # fmt: skip
    np.testing.assert_allclose(np.diff(episode.time), 1 / 80)
    observation = world.reset(seed=2**32)
    for row in range(len(episode)):
        np.testing.assert_array_equal(observation.state[0], episode.state[row])
        if row % 20 == 0:
            np.testing.assert_array_equal(observation.images["corner2"][0],
                                          episode.images["corner2"][row])  # fmt: skip
        observation = world.step(episode.action[row])
    assert world.outcome().success
    noisy = record_benchmark_episode(world, expert, seed=2**32, noise=1.0)
    assert np.abs(noisy.state[: len(episode)] - episode.state[: len(noisy)]).max() > 1e-3
    world.horizon = 5
    assert record_benchmark_episode(world, lambda _: np.zeros(4, np.float32), seed=1) is None
    world.close()


def test_noise_spares_the_gripper():
    push = Push(1.0, np.array([1.0, 1.0, 1.0, 0.0]), np.random.default_rng(0))
    added = np.array([push(np.zeros(4, np.float32)) for _ in range(3000)])
    assert (added[:, 3] == 0).all()
    assert 0.1 < (added[:, 0] != 0).mean() < 0.6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_full_quality_is_lerobots_picture_to_the_pixel(monkeypatch):
    """Their first frame shows the goal of the episode before; all others are compared."""
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", "egl"))
    from lerobot.envs.metaworld import MetaworldEnv

    config = MetaworldConfig(tasks=["push-v3"], image_size=480, quality="full", words="lerobot")
    world = config.build("push-v3")
    theirs = MetaworldEnv("push-v3", obs_type="pixels_agent_pos")
    seen, _ = theirs.reset(seed=3)
    ours = world.reset(seed=3)
    np.testing.assert_allclose(seen["agent_pos"], ours.state[0], atol=1e-6)
    assert theirs.task_description == ours.instruction
    action = np.array([0.5, -1, 0.2, 1], np.float32)
    for _ in range(3):
        seen, *_ = theirs.step(action)
        ours = world.step(action)
        np.testing.assert_array_equal(seen["pixels"], ours.images["corner2"][0])
        np.testing.assert_allclose(seen["agent_pos"], ours.state[0], atol=1e-6)
    world.close()
    theirs.close()


def test_labels_say_where_things_are_in_the_picture():
    config = MetaworldConfig(tasks=["pick-place-v3", "reach-v3"], image_size=96)
    world = config.build("pick-place-v3")
    for seed in (3, 4):
        picture = world.reset(seed=seed).images["corner2"][0].astype(int)
        labels = world.simulator.labels()
        column, row = ((labels["goal"] + 1) / 2 * 96).astype(int)
        red, green, blue = picture[row, column]
        assert blue > 60 + max(red, green)  # the goal of this task is a blue ball
        assert np.abs(labels["target"]).max() < 1
    hand = world.simulator.measure()[:3]
    thing = world.simulator.observe_all()[4:7]
    np.testing.assert_allclose(labels["target_offset"], 10 * (thing - hand), atol=1e-5)
    world.close()
    reach = config.build("reach-v3")
    reach.reset(seed=0)
    labels = reach.simulator.labels()
    np.testing.assert_array_equal(labels["target"], labels["goal"])
    reach.close()
