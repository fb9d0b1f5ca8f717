"""The tabletop world: clock, pictures, limits, labels."""

import subprocess
import sys

import numpy as np
import pytest

from envs.config import TabletopConfig
from envs.experts import EXPERTS
from envs.scene import PAD_PAINT, PAINT
from vla.errors import ConfigError, UnknownChoice

UP = np.array([0, 0, 0.02, 0, 0, 0, 1], dtype=np.float32)
STILL = np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)


@pytest.fixture
def build():
    worlds = []

    def make(task="lift", **options):
        worlds.append(TabletopConfig(**options).build(task))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def wave(tick):
    return np.array([0.02 * np.sin(tick), 0.015, -0.005, 0.02, 0, 0.05, tick % 2], np.float32)


def test_interleaved_worlds_keep_their_frames(build):
    alone = build("reach")
    frames = [alone.reset(seed=4), *(alone.step(wave(t)) for t in range(6))]
    first, second = build("reach"), build("push", image_size=96)
    mixed = [first.reset(seed=4)]
    second.reset(seed=9)
    for tick in range(6):
        mixed.append(first.step(wave(tick)))
        second.step(-wave(tick))
        if tick == 3:
            second.close()
            second = build("place")
            second.reset(seed=1)
    for left, right in zip(frames, mixed, strict=True):
        np.testing.assert_array_equal(left.state, right.state)
        for name in left.images:
            np.testing.assert_array_equal(left.images[name], right.images[name])


@pytest.mark.parametrize("pieces", [[0.05], [0.02, 0.03], [0.013, 0.017, 0.02], [0.001] * 50])
def test_command_and_advance_equal_step(build, pieces):
    whole, parts = build(), build()
    whole.reset(seed=3)
    parts.reset(seed=3)
    for tick in range(4):
        expected = whole.step(wave(tick))
        parts.command(wave(tick))
        for seconds in pieces:
            parts.advance(seconds)
        np.testing.assert_array_equal(parts.observe().state, expected.state)
    np.testing.assert_array_equal(parts.observe().images["front"], expected.images["front"])


def test_deltas_move_the_tool_by_their_sum(build):
    world = build()
    before = world.reset(seed=0).state[0]
    for _ in range(5):
        world.step(np.array([0.01, -0.01, 0.01, 0, 0, 0.06, 1], np.float32))
    for _ in range(6):
        after = world.step(STILL).state[0]
    np.testing.assert_allclose(after[7:10] - before[7:10], [0.05, -0.05, 0.05], atol=2e-3)
    np.testing.assert_allclose(after[10:13], [0, 0, 0.30], atol=0.01)


def test_rotation_state_is_zero_when_pointing_down(build):
    for seed in range(3):
        state = build().reset(seed=seed).state[0]
        np.testing.assert_allclose(state[10:13], 0.0, atol=1e-3)
        assert state[13] == pytest.approx(1.0, abs=1e-3)


def test_the_target_cannot_wind_up_against_the_table(build):
    world = build()
    world.reset(seed=0)
    for _ in range(30):
        low = world.step(np.array([0, 0, -0.025, 0, 0, 0, 1], np.float32))
    assert low.state[0, 9] > 0.0
    for _ in range(4):
        high = world.step(np.array([0, 0, 0.025, 0, 0, 0, 1], np.float32))
    assert high.state[0, 9] - low.state[0, 9] > 0.05


def test_commands_beyond_the_bounds_are_clipped(build):
    left, right = build(), build()
    left.reset(seed=1)
    right.reset(seed=1)
    big = left.step(np.array([1, 0, 0, 0, 0, 0, 1], np.float32))
    most = right.step(np.array([0.025, 0, 0, 0, 0, 0, 1], np.float32))
    np.testing.assert_array_equal(big.state, most.state)


def test_objects_rest_where_they_were_put(build):
    world = build()
    world.reset(seed=2)
    start = world.scene_state().things
    world.advance(2.0)
    np.testing.assert_allclose(world.scene_state().things, start, atol=2e-3)


def test_success_must_be_held(build):
    world = build("reach")
    world.reset(seed=0)
    done = []
    for _ in range(40):
        world.step(EXPERTS["reach"](world.scene_state(), world.assignment))
        done.append(world.task.success(world.scene_state(), world.assignment))
        if world.outcome().ended:
            break
    assert world.outcome().success
    assert done[-5:] == [True] * 5
    assert not done[-6]


def test_outcome_does_not_change_after_the_end(build):
    world = build("reach")
    world.reset(seed=0)
    world.advance(world.task.horizon / 20)
    assert world.outcome().ended
    for _ in range(30):
        world.step(EXPERTS["reach"](world.scene_state(), world.assignment))
    assert not world.outcome().success


def nearest_paint(pixel, table):
    """The name of the paint whose direction in RGB is nearest; light changes length, not it."""
    pixel = pixel / np.linalg.norm(pixel)
    return max(table, key=lambda name: pixel @ (table[name][:3] / np.linalg.norm(table[name][:3])))


@pytest.mark.parametrize("seed", range(12))
def test_labels_lie_on_what_they_name(build, seed):
    world = build("place", image_size=128)
    picture = world.reset(seed=seed).images["front"][0].astype(float)
    world_labels = world.labels()

    def pixel(uv):
        column, row = np.floor((np.asarray(uv) + 1) / 2 * 128).astype(int)
        return picture[row, column]

    assignment = world.assignment
    assert nearest_paint(pixel(world_labels["target"]), PAINT) == assignment.thing.colour
    pad = assignment.layout.pads[assignment.pad]
    assert nearest_paint(pixel(world_labels["goal"]), PAD_PAINT) == pad.colour


def test_goal_label_without_a_destination_is_the_target(build):
    world = build("lift")
    world.reset(seed=0)
    np.testing.assert_array_equal(world.labels()["goal"], world.labels()["target"])
    push = build("push")
    push.reset(seed=0)
    side = push.assignment.side
    # The front camera looks back at the arm: the arm's left (y > 0) is on the picture's right.
    assert (push.labels()["goal"][0] > 0) == (side == "left")


def test_full_quality_draws_shadows(build):
    fast, full = build(quality="fast"), build(quality="full")
    a = fast.reset(seed=0).images["front"].astype(int)
    b = full.reset(seed=0).images["front"].astype(int)
    assert np.abs(a - b).mean() > 1.0
    assert fast.embodiment.hash != full.embodiment.hash


def test_config_names_the_culprit():
    with pytest.raises(UnknownChoice, match="lift"):
        TabletopConfig(tasks=["lfit"])
    with pytest.raises(UnknownChoice, match="fast"):
        TabletopConfig(quality="fats")
    with pytest.raises(ConfigError, match="image_size"):
        TabletopConfig(image_size=3)


def test_missing_gl_is_explained():
    code = "from envs.config import TabletopConfig; TabletopConfig().build('lift')"
    env = {"MUJOCO_GL": "nonsense", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "RenderError" in done.stderr
    assert "libegl1" in done.stderr


def test_config_and_embodiment_need_no_mujoco():
    code = (
        "import sys; from envs.config import TabletopConfig, GymWorldConfig; "
        "TabletopConfig().embodiment(); "
        "sys.exit(bool({'mujoco', 'gymnasium', 'torch'} & sys.modules.keys()))"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == 0


def test_offsets_lead_from_the_fingertips_to_the_thing(build):
    world = build("place")
    world.reset(seed=7)
    scene, labels = world.scene_state(), world.labels()
    thing = scene.things[world.assignment.target]
    np.testing.assert_allclose(scene.tool + labels["target_offset"] / 10, thing, atol=1e-6)
    reached = scene.tool + labels["goal_offset"] / 10
    np.testing.assert_allclose(reached, [*world.assignment.goal, 0.0], atol=1e-6)
