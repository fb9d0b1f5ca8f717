"""Every axis at every level is still a world, is a pair of the nominal one, and can be undone."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from envs.config import AXES, TabletopConfig
from envs.mujoco_world import MujocoWorld
from envs.perturbations import PERTURBATIONS, load_perturbation
from envs.perturbations.perturbation import LEVELS
from envs.perturbations.table import describe_axes
from envs.perturbations.world import PerturbedWorld
from envs.scene import arrange
from envs.tasks import load_task
from vla.errors import ConfigError, UnknownChoice

SEED = 1_000_003
MOVE = np.array([0.01, -0.01, -0.01, 0, 0.02, 0.05, 1], np.float32)
EDITED = {"camera", "light", "texture", "object_colour", "distractors", "dynamics"}
VISUAL = {"camera", "light", "texture", "object_colour", "sensor_noise", "visual_matching",
          "object_swap", "start_pose"}  # fmt: skip
KINDS_OF_ARRAYS = ("geom_", "cam_", "light_", "body_", "actuator_", "mat_")


@pytest.fixture(scope="module")
def perturbed():
    """Worlds by axis, level and image size; one world takes on many axes, as contexts cost time.

    So every test is also one of undoing what the test before it did.
    """
    worlds = {}

    def get(axis, level, size=32):
        perturbation = load_perturbation(axis, level)
        key = (size, axis, level) if axis in ("texture", "distractors") else size
        if key not in worlds:
            task = load_task("push")
            worlds[key] = PerturbedWorld(task, perturbation=perturbation, image_size=size)
        worlds[key]._perturbation = perturbation
        return worlds[key]

    yield get
    for world in worlds.values():
        world.close()


def play(world, seed=SEED):
    return [world.reset(seed=seed), *(world.step(MOVE) for _ in range(2))]


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        assert one.instruction == other.instruction
        np.testing.assert_array_equal(one.state, other.state)
        for name in one.images:
            np.testing.assert_array_equal(one.images[name], other.images[name])


@pytest.fixture(scope="module")
def nominal():
    world = MujocoWorld(load_task("push"), image_size=32)
    episode = play(world)
    yield world, episode
    world.close()


def test_the_registry_is_what_the_configuration_offers():
    assert set(PERTURBATIONS) == set(AXES)
    assert len(AXES) == 12
    with pytest.raises(UnknownChoice, match="lihgt"):
        load_perturbation("lihgt", 1)
    with pytest.raises(ConfigError, match="levels 1 to 5"):
        load_perturbation("light", 6)


@pytest.mark.parametrize("axis", AXES)
def test_level_0_is_the_nominal_world(axis, nominal, perturbed):
    world = perturbed(axis, 0)
    assert_same(play(world), nominal[1])


@pytest.mark.parametrize(("axis", "level"), list(product(AXES, LEVELS)))
def test_is_a_world_that_repeats_itself_and_differs(axis, level, nominal, perturbed):
    world = perturbed(axis, level)
    first = play(world)
    body = world.embodiment
    assert body == nominal[0].embodiment
    for observation in first:
        assert observation.images.keys() == body.cameras.keys()
        for image in observation.images.values():
            assert image.shape == (1, 32, 32, 3)
            assert image.dtype == np.uint8
        assert observation.state.shape == (1, 14)
        assert observation.state.dtype == np.float32
        assert np.isfinite(observation.state).all()
    world.reset(seed=SEED + 1)
    assert_same(play(world), first)
    with pytest.raises(AssertionError):
        assert_same(first, nominal[1])
    asked, plain = world.assignment, nominal[0].assignment
    assert [thing.name for thing in asked.layout.things] == [t.name for t in plain.layout.things]
    assert (asked.target, asked.pad, asked.side) == (plain.target, plain.pad, plain.side)
    assert (asked.instruction == plain.instruction) is (axis != "instruction")


@pytest.mark.parametrize("axis", sorted(EDITED))
def test_edits_are_undone_to_the_last_bit(axis, nominal, perturbed):
    world = perturbed(axis, 5)
    play(world)
    plain, (first, *_) = nominal
    world._edits.undo()
    arrange(world.model, world.data, plain.task.sample(np.random.default_rng(SEED)).layout)
    plain.reset(seed=SEED)
    if axis not in ("texture", "distractors"):  # these two add to the model before it is compiled
        for name in dir(plain.model):
            if name.startswith(KINDS_OF_ARRAYS):
                expected = getattr(plain.model, name)
                np.testing.assert_array_equal(getattr(world.model, name), expected, err_msg=name)
    world.data.qpos[: plain.model.nq] = plain.data.qpos
    world.advance(0.0)  # moves nothing, but places what is seen
    for name, image in MujocoWorld.observe(world).images.items():
        np.testing.assert_array_equal(image, first.images[name])


@pytest.mark.parametrize("axis", sorted(VISUAL))
def test_pictures_differ_more_at_higher_levels(axis, perturbed):
    """Mean distance to the nominal pictures of two scenes and both cameras, 64 pixels."""
    seeds = (SEED, SEED + 1)
    distances = []
    for level in (0, *LEVELS):
        world = perturbed(axis, level, size=64)
        views = [world.reset(seed=seed).images for seed in seeds]
        stack = np.array([[image for image in images.values()] for images in views], float)
        distances.append(stack)
    distances = [np.abs(stack - distances[0]).mean() for stack in distances[1:]]
    assert distances[0] > 0
    assert distances == sorted(distances)


def test_the_page_is_current():
    page = Path(__file__).parents[3] / "docs" / "perturbations.md"
    assert page.read_text(encoding="utf-8") == describe_axes(), (
        'python -c "from envs.perturbations.table import write_page; '
        "write_page('docs/perturbations.md')\""
    )


def test_a_configured_world_is_perturbed():
    world = TabletopConfig(perturbation="light:3", image_size=32).build("reach")
    assert isinstance(world, PerturbedWorld)
    assert (world._perturbation.axis, world._perturbation.level) == ("light", 3)
    for wrong in ("light", "light:0", "light:6", "lihgt:3"):
        with pytest.raises(ConfigError):
            TabletopConfig(perturbation=wrong)


def test_conditions_and_presets():
    config = TabletopConfig()
    assert config.list_conditions(["given", "blank"]) == ["given", "blank"]
    assert len(config.list_conditions(["given", "axes"])) == 61
    assert config.list_conditions(["axes:3", "light:3"]) == [f"{axis}:3" for axis in AXES]
    assert config.under("light:3") == TabletopConfig(perturbation="light:3")
    assert config.under("swapped") == TabletopConfig(instruction="swapped")
    with pytest.raises(UnknownChoice, match="ligth"):
        config.list_conditions(["ligth:3"])
