"""What every World promises, whoever made it."""

import numpy as np
import pytest

from envs.benchmarks.config import MetaworldConfig
from envs.benchmarks.config_arms import AlohaWorldConfig, KitchenConfig, PushtWorldConfig
from envs.config import CLASSIC, INSTRUCTIONS, TASKS, GymWorldConfig, TabletopConfig
from vla.contract import World
from vla.embodiment import Embodiment
from vla.errors import ContractError, ShapeError, UnknownChoice
from vla.types import check_array

GYM_ID = "envs.gym_adapter:vla/TabletopReach-v0"

BENCHMARKS = {
    "metaworld-push": (MetaworldConfig(image_size=48, horizon=40), "push-v3"),
    "metaworld-door": (
        MetaworldConfig(
            tasks=["door-open-v3"], image_size=32, horizon=40, cameras=["corner2", "gripperPOV"]
        ),
        "door-open-v3",
    ),
    "kitchen": (KitchenConfig(image_size=48, horizon=30), "microwave"),
    "aloha": (AlohaWorldConfig(height=48, width=64, horizon=30), "insertion"),
    "pusht": (PushtWorldConfig(horizon=30), "push_t"),
}

CASES = {
    **{f"tabletop-{task}": (TabletopConfig(), task) for task in CLASSIC},
    **{
        f"tabletop-{task}": (TabletopConfig(tasks=[task], image_size=48), task)
        for task in TASKS
        if task not in CLASSIC
    },
    "tabletop-joint": (
        TabletopConfig(action="joint", cameras=["front", "side"], image_size=48),
        "lift",
    ),
    **{
        f"tabletop-{kind}": (TabletopConfig(instruction=kind, image_size=48), "reach")
        for kind in INSTRUCTIONS
        if kind != "given"
    },
    **{
        f"tabletop-{name}": (TabletopConfig(perturbation=name, image_size=48), "reach")
        for name in ("dynamics:5", "sensor_noise:5", "distractors:5")
    },
    "gym": (
        GymWorldConfig(tasks=[GYM_ID], cameras={"front": "front", "wrist": "wrist"}, state="state"),
        GYM_ID,
    ),
    **BENCHMARKS,
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    config, task = CASES[request.param]
    world = config.build(task)
    yield config, task, world
    world.close()


def moves(world, count, seed=0):
    """`count` random actions within the bounds."""
    rng = np.random.default_rng(seed)
    low = np.array([axis.low for axis in world.embodiment.action])
    high = np.array([axis.high for axis in world.embodiment.action])
    return rng.uniform(low, high, (count, low.size)).astype(np.float32)


def test_is_a_world_with_a_serializable_embodiment(case):
    config, _, world = case
    assert isinstance(world, World)
    body = world.embodiment
    assert Embodiment.from_json(body.to_json()) == body
    assert config.embodiment() == body


def test_observations_are_as_declared(case):
    _, _, world = case
    body = world.embodiment
    observations = [world.reset(seed=1), *(world.step(action) for action in moves(world, 3))]
    for observation in observations:
        assert observation.images.keys() == body.cameras.keys()
        for name, camera in body.cameras.items():
            shape = (1, camera.height, camera.width, 3)
            check_array(name, observation.images[name], dtype=np.uint8, shape=shape)
            assert observation.images[name].std() > 5  # a picture, not a blank
        assert observation.state.shape == (1, len(body.state))
        assert isinstance(observation.instruction, str)
    times = [observation.time for observation in observations]
    np.testing.assert_allclose(np.diff(times), 1 / body.hz, atol=1e-6)


def test_equal_seeds_give_equal_episodes(case):
    _, _, world = case
    episodes = []
    for seed in (5, 5, 6):
        first = world.reset(seed=seed)
        last = [world.step(action) for action in moves(world, 4)][-1]
        episodes.append((first, last))
    for left, right in zip(episodes[0], episodes[1], strict=True):
        np.testing.assert_array_equal(left.state, right.state)
        assert left.instruction == right.instruction
        for name in left.images:
            np.testing.assert_array_equal(left.images[name], right.images[name])
    assert any((episodes[0][0].images[n] != episodes[2][0].images[n]).any() for n in first.images)


def test_earlier_observations_do_not_change(case):
    _, _, world = case
    first = world.reset(seed=2)
    name = next(iter(first.images))
    state, image = first.state.copy(), first.images[name].copy()
    for action in moves(world, 5):
        world.step(action)
    np.testing.assert_array_equal(first.state, state)
    np.testing.assert_array_equal(first.images[name], image)


def test_a_late_look_shows_the_instant_of_the_observation(case):
    _, _, world = case
    pictures = []
    for late in (False, True):
        seen = [world.reset(seed=4)]
        if not late:
            pictures.append([dict(seen[0].images)])
        for action in moves(world, 3):
            seen.append(world.step(action))
            if not late:
                pictures[0].append(dict(seen[-1].images))
        if late:
            world.reset(seed=5)
            pictures.append([dict(observation.images) for observation in seen])
    for early, late in zip(*pictures, strict=True):
        for name in early:
            np.testing.assert_array_equal(early[name], late[name])


@pytest.mark.parametrize("bad", ["nan", "inf", "short", "batched", "list"])
def test_actions_out_of_contract_are_refused(case, bad):
    _, _, world = case
    world.reset(seed=0)
    action = np.zeros(len(world.embodiment.action), dtype=np.float32)
    wrong = {
        "nan": np.where(np.arange(action.size) == 1, np.nan, action).astype(np.float32),
        "inf": np.where(np.arange(action.size) == 0, np.inf, action).astype(np.float32),
        "short": action[:-1],
        "batched": action[None],
        "list": action.tolist(),
    }[bad]
    with pytest.raises(ShapeError):
        world.step(wrong)


def test_outcome_starts_open_and_ends_by_the_horizon(case):
    _, _, world = case
    world.reset(seed=0)
    assert not world.outcome().ended
    if world.embodiment.name.startswith("tabletop"):
        for _ in range(world.task.horizon):  # without pictures, which take most of the time
            world.command(world.still())
            world.advance(1 / world.embodiment.hz)
    else:
        while not world.outcome().ended:
            world.step(np.zeros(len(world.embodiment.action), dtype=np.float32))
    assert world.outcome().ended
    # Where what is named is not there, doing nothing is right.
    assert world.outcome().success == (_names_nothing(world))
    world.reset(seed=0)
    assert not world.outcome().ended


def _names_nothing(world):
    return world.embodiment.name.startswith("tabletop") and world.assignment.option == "absent"


def test_unknown_task_and_use_before_reset(case):
    config, task, _ = case
    with pytest.raises(UnknownChoice, match="task"):
        config.build("juggle")
    fresh = config.build(task)
    with pytest.raises(ContractError):
        fresh.step(np.zeros(len(fresh.embodiment.action), dtype=np.float32))
    fresh.close()
    fresh.close()
