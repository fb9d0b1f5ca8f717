"""What the axes that move or replace things promise, over many scenes and without pictures."""

from colorsys import rgb_to_hsv
from itertools import combinations

import numpy as np
import pytest

from envs.config import AXES, CLASSIC, SUITE, TabletopConfig
from envs.draft import GAP
from envs.experts import EXPERTS
from envs.fixtures import HOLE_HALF
from envs.layout import LANE, PAD_HALF, X_RANGE, Y_RANGE, is_clear
from envs.perturbations import load_perturbation
from envs.perturbations.perturbation import LEVELS
from envs.scene import PAINT, build_scene
from envs.tasks import load_task

SEEDS = range(1_000_000, 1_000_040)


def sample(task, seed):
    return load_task(task).sample(np.random.default_rng(seed))


@pytest.mark.parametrize("level", LEVELS)
def test_the_named_object_lies_outside_the_training_area_in_reach(level):
    axis = load_perturbation("layout", level)
    for seed in SEEDS:
        layout = axis.reassign(before := sample("place", seed), seed).layout
        spots = np.array([(thing.x, thing.y) for thing in layout.things])
        x, y = spots[before.target]
        assert not (X_RANGE[0] <= x <= X_RANGE[1] and Y_RANGE[0] <= y <= Y_RANGE[1])
        assert spots[:, 0].min() >= X_RANGE[0] - 0.04
        assert spots[:, 0].max() <= X_RANGE[1] + 0.04
        assert np.abs(spots[:, 1]).max() <= 0.155  # not yet in a side strip
        assert np.diff(np.sort(spots[:, 0])).min() >= LANE
        assert layout.pads == before.layout.pads
        assert is_clear(np.array([(pad.x, pad.y) for pad in layout.pads]), spots)


def test_distractors_grow_in_number_and_keep_clear():
    for seed in SEEDS:
        task = ("push", "place")[seed % 2]
        assignment, earlier = sample(task, seed), []
        for level in LEVELS:
            extra = load_perturbation("distractors", level).draw(assignment, seed)
            assert len(extra) == level
            assert extra[: level - 1] == earlier
            earlier = extra
        things = [*assignment.layout.things, *extra]
        assert len({thing.name for thing in things}) == len(things)
        for one, other in combinations(things, 2):
            if one in extra or other in extra:
                assert np.hypot(one.x - other.x, one.y - other.y) >= 0.07
        for thing, pad in ((thing, pad) for thing in extra for pad in assignment.layout.pads):
            assert max(abs(thing.x - pad.x), abs(thing.y - pad.y)) > PAD_HALF + 0.02
        if task == "push":
            assert min(abs(thing.x - assignment.thing.x) for thing in extra) >= 0.06


def test_swapped_objects_fit_between_the_fingers():
    for seed in SEEDS:
        for thing in (
            load_perturbation("object_swap", 5).reassign(sample("lift", seed), seed).layout.things
        ):
            assert 0.014 < thing.half_width < 0.032
            assert 0.014 < thing.half_height < 0.040
            assert thing.shape != "ball" or thing.half_width == thing.half_height


def test_shades_keep_their_colours_name():
    hues = {name: rgb_to_hsv(*paint[:3])[0] for name, paint in PAINT.items()}
    axis = load_perturbation("object_colour", 5)
    for name, paint in PAINT.items():
        for signs in np.array(np.meshgrid([-1, 1], [-1, 1], [1])).T.reshape(-1, 3):
            hue, saturation, value = rgb_to_hsv(*axis._shift(np.array(paint[:3]), signs))
            away = {other: abs((hue - h + 0.5) % 1 - 0.5) for other, h in hues.items()}
            assert min(away, key=away.get) == name
            assert sorted(away.values())[1] > 3 * away[name]
            assert saturation > 0.5
            assert value > 0.4


def test_words_by_level():
    assignment = sample("place", 1_000_000)
    said = [load_perturbation("instruction", k).reassign(assignment, 7).instruction for k in LEVELS]
    assert len(set(said)) == 5
    assert assignment.instruction in said[0]
    assert assignment.thing.name in said[1]
    assert assignment.thing.name not in said[2]
    assert len(said[3]) > len(said[2])
    assert said[4] == ""


def test_dynamics_scale_masses_friction_and_gains_together_with_damping():
    world = TabletopConfig(perturbation="dynamics:5", image_size=16).build("reach")
    plain = build_scene("fast").compile()
    world.reset(seed=1)
    slot = plain.body("object1").id
    mass = world.model.body_mass[slot] / plain.body_mass[slot]
    assert np.log2(mass) == pytest.approx(np.copysign(1.5, np.log2(mass)))
    np.testing.assert_allclose(
        world.model.body_inertia[slot], mass * plain.body_inertia[slot], rtol=1e-12
    )
    gains = world.model.actuator_gainprm[:7, 0] / plain.actuator_gainprm[:7, 0]
    np.testing.assert_allclose(gains, gains[0])
    np.testing.assert_allclose(
        world.model.actuator_biasprm[:7, 1], -world.model.actuator_gainprm[:7, 0]
    )
    world.close()


def test_commands_come_late():
    world = TabletopConfig(perturbation="dynamics:5", image_size=16).build("reach")
    start = world.reset(seed=1).state[0, 7:10]
    up = np.array([0, 0, 0.02, 0, 0, 0, 1], np.float32)
    heights = [world.step(up).state[0, 9] - start[2] for _ in range(8)]
    assert max(map(abs, heights[:2])) < 0.005 < heights[-1]
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("axis", [axis for axis in AXES if axis != "instruction"])
def test_experts_succeed_at_level_1(axis):
    """The scripted experts see the truth, so pictures and noise of the state do not matter."""
    failed = []
    for task in CLASSIC:
        world = TabletopConfig(perturbation=f"{axis}:1", image_size=16).build(task)
        for seed in (1_000_000, 1_000_001, 1_000_002):
            world.reset(seed=seed)
            while not world.outcome().ended:
                action = EXPERTS[task](world.scene_state(), world.assignment)
                world.command(action)
                world.advance(1 / world.embodiment.hz)
            if not world.outcome().success:
                failed.append((task, seed))
        world.close()
    assert not failed


@pytest.mark.parametrize("task", SUITE)
def test_axes_keep_the_suites_sentences_true(task):
    """Whatever lies where, the words still mean the same things and nothing is done already."""
    for axis in ("distractors", "layout", "object_swap"):
        perturbation = load_perturbation(axis, 5)
        for seed in SEEDS[:8]:
            plain = sample(task, seed)
            asked = perturbation.reassign(plain, seed)
            assert (asked.instruction, asked.named) == (plain.instruction, plain.named)
            names = [thing.name for thing in asked.layout.things]
            assert names == [thing.name for thing in plain.layout.things]
            spots = np.array([(thing.x, thing.y) for thing in asked.layout.things])
            gaps = np.linalg.norm(spots[:, None] - spots[None], axis=2)
            assert (gaps + np.eye(len(spots))).min() > GAP - 1e-9


def test_comparisons_by_size_survive_other_sizes():
    axis = load_perturbation("object_swap", 5)
    for seed in SEEDS:
        asked = axis.reassign(sample("comparison", seed), seed)
        widths = [thing.half_width for thing in asked.layout.things[:3]]
        if asked.option == "largest":
            assert widths[0] == max(widths)
        if asked.option == "smallest":
            assert widths[0] == min(widths)


def test_distractors_never_join_a_named_group():
    for seed in SEEDS:
        assignment = sample("collect", seed)
        colour = assignment.thing.colour
        extra = load_perturbation("distractors", 5).draw(assignment, seed)
        assert len(extra) == 5
        assert all(thing.colour != colour for thing in extra)


def test_pegs_of_any_size_fit_their_holes():
    for seed in SEEDS:
        asked = load_perturbation("object_swap", 5).reassign(sample("peg", seed), seed)
        assert asked.thing.half_width < HOLE_HALF - 0.002
