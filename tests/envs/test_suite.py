"""The sixteen templates: words, scenes, and what counts as done."""

from dataclasses import replace

import numpy as np
import pytest

from envs.config import SUITE
from envs.draft import list_circles
from envs.experts import EXPERTS
from envs.mujoco_world import MujocoWorld
from envs.suite import count_wrong_grasps
from envs.tasks import load_task


class Blind(MujocoWorld):
    """Without pictures, for speed."""

    def observe(self):
        return None


def play(world, seed, expert=None, *, until=None):
    """Let an expert play until the end, or until `until(state)`."""
    world.reset(seed=seed)
    expert = expert or EXPERTS[world.task.name]
    while not world.outcome().ended:
        state = world.scene_state()
        if until is not None and until(state):
            return state
        world.step(expert(state, world.assignment))
    return world.scene_state()


def find_seed(task, accept, seeds=range(60)):
    drawn = ((seed, load_task(task).sample(np.random.default_rng(seed))) for seed in seeds)
    return next(seed for seed, assignment in drawn if accept(assignment))


@pytest.mark.parametrize("task", SUITE)
def test_words_and_places(task):
    """Templates are filled, paraphrases keep the scene, nothing overlaps, nothing is done yet."""
    texts = set()
    for seed in range(8):
        plain = load_task(task).sample(np.random.default_rng(seed))
        other = load_task(task).sample(np.random.default_rng(seed), paraphrase=True)
        assert plain.layout == other.layout
        assert plain.swapped != plain.instruction
        for text in (plain.instruction, plain.swapped, other.instruction):
            assert "{" not in text
            assert len(text) <= 120
        texts |= {plain.instruction, other.instruction}
        for fixture in plain.layout.fixtures:
            for x, y, radius in list_circles(fixture):
                for thing in plain.layout.things:
                    assert np.hypot(thing.x - x, thing.y - y) > radius + 0.03
    assert len(texts) > 2


@pytest.mark.parametrize("task", SUITE)
def test_an_episode_is_not_done_before_it_begins(task):
    world = Blind(load_task(task))
    for seed in range(6):
        world.reset(seed=seed)
        assert not world.task.success(world.scene_state(), world.assignment)
        assert np.isfinite(list(world.progress().values())).all()
        assert all(np.isfinite(row).all() for row in world.labels().values())


def test_objects_and_fixtures_rest_where_they_were_put():
    for task in ("bowl", "stow", "button", "knob", "peg", "plate"):
        world = Blind(load_task(task))
        world.reset(seed=2)
        before = world.scene_state()
        world.advance(1.5)
        after = world.scene_state()
        np.testing.assert_allclose(after.things, before.things, atol=3e-3)
        np.testing.assert_allclose(after.values, before.values, atol=2e-3)


def test_objects_larger_than_compiled_do_not_sink():
    seed = find_seed("comparison", lambda it: it.option == "largest" and it.thing.shape == "cube")
    world = Blind(load_task("comparison"))
    world.reset(seed=seed)
    before = world.scene_state().things
    world.advance(1.0)
    np.testing.assert_allclose(world.scene_state().things, before, atol=1e-3)


def test_a_wrong_object_in_the_bowl_is_no_success_and_is_counted():
    def wrong(state, assignment):

        return EXPERTS["bowl"](state, replace(assignment, named=(1,), target=1))

    world = Blind(load_task("bowl"))
    state = play(world, 3, wrong)
    assert not world.outcome().success
    assert count_wrong_grasps(state, world.assignment) == 1
    assert world.progress()["wrong_grasps"] == 1.0
    state = play(world, 3)
    assert world.outcome().success
    assert count_wrong_grasps(state, world.assignment) == 0


def test_the_wrong_order_is_no_success():
    def backwards(state, assignment):

        return EXPERTS["order"](state, replace(assignment, named=(1, 0), target=1))

    world = Blind(load_task("order"))
    play(world, 1, backwards)
    assert not world.outcome().success


def test_presses_are_counted_and_shown():
    seed = find_seed("button", lambda it: it.option == "twice")
    world = MujocoWorld(load_task("button"), image_size=96, cameras=["front"])
    state = play(world, seed)
    assert world.outcome().success
    assert state.past.presses == (2, 0, 0)
    lit = world.observe().images["front"].astype(int)
    assert not np.array_equal(lit, world.reset(seed=seed).images["front"])
    assert world.scene_state().past.presses == (0, 0, 0)
    world.close()


def test_one_press_is_not_two_and_two_are_not_one():
    from envs.suite_experts import button

    for asked, done in (("twice", "once"), ("once", "twice")):
        seed = find_seed("button", lambda it, asked=asked: it.option == asked)

        def other(state, assignment, done=done):

            return button(state, replace(assignment, option=done))

        world = Blind(load_task("button"))
        play(world, seed, other)
        assert not world.outcome().success


def test_doing_nothing_takes_patience_and_restraint():
    seed = find_seed("exclude", lambda it: it.option == "absent")
    world = Blind(load_task("exclude"))
    state = play(world, seed)
    assert world.outcome().success
    assert state.past.ticks >= 40
    play(world, seed, lambda state, it: EXPERTS["pick"](state, _name_first(it)))
    assert not world.outcome().success


def _name_first(assignment):

    return replace(assignment, named=(0,), target=0)


def test_a_lifted_object_is_not_pushed():
    world = Blind(load_task("region"))
    play(world, 0, EXPERTS["pick"], until=lambda state: state.past.grasps[0] > 0)
    assert world.scene_state().past.grasps[0] == 1
    assert not world.task.success(world.scene_state(), world.assignment)
