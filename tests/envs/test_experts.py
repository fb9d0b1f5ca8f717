"""Experts do what their tasks ask."""

import numpy as np
import pytest

from envs.config import CLASSIC, SUITE, TabletopConfig
from envs.demonstrations import Disturbance
from envs.experts import EXPERTS, ExpertController
from envs.mujoco_world import MujocoWorld
from envs.tasks import load_task
from vla.contract import Controller
from vla.errors import UnknownChoice


class Blind(MujocoWorld):
    """Without pictures, for speed."""

    def observe(self):
        return None


def play(task, seeds, noise=0.0):
    """Successes and lengths of the expert's episodes."""
    world = Blind(load_task(task))
    results = []
    for seed in seeds:
        world.reset(seed=seed)
        disturb = Disturbance(noise, np.random.default_rng([seed, 1]))
        ticks = 0
        while not world.outcome().ended:
            action = EXPERTS[task](world.scene_state(), world.assignment)
            assert action.dtype == np.float32
            assert np.abs(action[:3]).max() <= 0.025
            assert np.abs(action[3:6]).max() <= 0.15
            world.step(disturb(action))
            ticks += 1
        results.append((world.outcome().success, ticks))
    return np.array(results).T


LONGEST = {"reach": 25, "push": 60, "lift": 40, "place": 70}


@pytest.mark.parametrize("task", CLASSIC)
def test_expert_succeeds(task):
    success, ticks = play(task, range(5))
    assert success.all()
    assert ticks.max() <= LONGEST[task]


@pytest.mark.parametrize("task", SUITE)
def test_expert_of_the_suite_succeeds_in_half_the_time(task):
    success, ticks = play(task, range(2))
    assert success.all()
    assert ticks.max() <= load_task(task).horizon / 2


@pytest.mark.slow
@pytest.mark.parametrize("task", CLASSIC)
@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.96), (1.0, 0.90)])
def test_expert_succeeds_on_fifty_seeds(task, noise, least):
    success, _ = play(task, range(1000, 1050), noise)
    assert success.mean() >= least


def test_expert_is_a_pure_function_of_the_state():
    world = Blind(load_task("place"))
    world.reset(seed=0)
    for _ in range(20):
        state = world.scene_state()
        action = EXPERTS["place"](state, world.assignment)
        np.testing.assert_array_equal(action, EXPERTS["place"](state, world.assignment))
        world.step(action)


def test_controller_drives_any_wrapper_and_names_unknown_tasks():
    world = TabletopConfig(instruction="swapped").build("reach")
    controller = ExpertController(world)
    assert isinstance(controller, Controller)
    observation = world.reset(seed=0)
    controller.reset(seed=0)
    while not world.outcome().ended:
        observation = world.step(controller(observation))
    world.close()
    assert world.outcome().success

    class Odd:
        class task:  # noqa: N801
            name = "juggle"

    with pytest.raises(UnknownChoice, match="juggle"):
        ExpertController(Odd())
