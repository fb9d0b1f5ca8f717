"""Gymnasium in both directions."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import envs.gym_adapter  # noqa: F401  (registers the ids)
from envs.config import CLASSIC, TASKS, GymWorldConfig, TabletopConfig
from envs.gym_world import GymWorld
from vla.errors import ConfigError

IDS = {task: f"vla/Tabletop{task.capitalize()}-v0" for task in TASKS}


@pytest.mark.parametrize("task", [*CLASSIC, "stow", "button"])
def test_registered_env_passes_the_checker(task):
    env = gymnasium.make(IDS[task], render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_every_task_is_registered():
    assert set(IDS.values()) <= set(gymnasium.registry)
    assert len(IDS) == 20


def test_env_shows_the_worlds_episode():
    env = gymnasium.make(IDS["place"], image_size=48)
    world = TabletopConfig(image_size=48).build("place")
    seen, info = env.reset(seed=11)
    expected = world.reset(seed=11)
    assert info["seed"] == 11
    assert seen["instruction"] == expected.instruction
    action = np.array([0.02, 0, 0, 0, 0, 0, 1], np.float32)
    seen, reward, terminated, truncated, info = env.step(action)
    expected = world.step(action)
    np.testing.assert_array_equal(seen["wrist"], expected.images["wrist"][0])
    np.testing.assert_allclose(seen["state"], expected.state[0], atol=1e-6)
    assert (reward, terminated, truncated, info["is_success"]) == (0.0, False, False, False)
    env.close()
    world.close()


def test_env_terminates_on_success_and_truncates_at_the_horizon():
    from envs.experts import ExpertController

    env = gymnasium.make(IDS["reach"])
    env.reset(seed=0)
    controller = ExpertController(env.unwrapped.world)
    for expert in (True, False):
        env.reset(seed=0)
        still = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
        ended = truncated = False
        while not (ended or truncated):
            _, reward, ended, truncated, info = env.step(controller(None) if expert else still)
        assert (ended, truncated, info["is_success"]) == (expert, not expert, expert)
        assert reward == float(expert)
    env.close()


def test_envs_vectorize():
    venv = gymnasium.make_vec(IDS["reach"], num_envs=2, vectorization_mode="sync", image_size=32)
    seen, _ = venv.reset(seed=[3, 4])
    assert seen["front"].shape == (2, 32, 32, 3)
    single = gymnasium.make(IDS["reach"], image_size=32)
    np.testing.assert_array_equal(seen["front"][1], single.reset(seed=4)[0]["front"])
    venv.close()
    single.close()


class Slider(gymnasium.Env):
    """A dot to be moved to the right; the picture comes from render()."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
    render_mode = "rgb_array"

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.spot = self.np_random.uniform(0, 1)
        return np.array([self.spot, 0.0]), {}

    def step(self, action):
        self.spot += float(action[0])
        won = self.spot > 5
        return np.array([self.spot, float(action[0])]), 0.0, False, self.spot < -5, {"won": won}

    def render(self):
        picture = np.zeros((8, 12, 3), np.uint8)
        picture[:, int(np.clip(self.spot, 0, 11))] = 255
        return picture


def slider(**changes):
    options = {
        "name": "slider",
        "cameras": {"top": "render"},
        "state": "",
        "instruction": "to the right",
        "success": "won",
        "hz": 10.0,
    }
    return GymWorld(Slider(), **{**options, **changes})


def test_a_plain_env_becomes_a_world():
    world = slider()
    first = world.reset(seed=1)
    assert first.images["top"].shape == (1, 8, 12, 3)
    assert first.instruction == "to the right"
    assert (world.embodiment.action[0].low, world.embodiment.action[0].high) == (-1.0, 1.0)
    after = world.step(np.array([7.0], np.float32))  # clipped to 1
    assert after.state[0, 0] == pytest.approx(first.state[0, 0] + 1.0)
    assert after.time == pytest.approx(0.1)
    for _ in range(5):
        world.step(np.array([1.0], np.float32))
    assert world.outcome().success
    assert world.outcome().ended
    world.reset(seed=1)
    for _ in range(8):
        world.step(np.array([-1.0], np.float32))
    outcome = world.outcome()
    assert (outcome.ended, outcome.success, outcome.reason) == (True, False, "truncated")


def test_wrong_keys_are_named():
    with pytest.raises(ConfigError, match="cam_high"):
        slider(cameras={"top": "cam_high"})
    config = GymWorldConfig(tasks=["NoSuch-v0"])
    with pytest.raises(ConfigError, match="NoSuch"):
        config.build("NoSuch-v0")


class Endless(Slider):
    """It never says that time is up."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode):
        self.render_mode = render_mode

    def step(self, action):
        seen, reward, ended, _, info = super().step(action)
        return seen, reward, ended, False, info


def test_an_env_without_a_limit_gets_one():
    gymnasium.register("vla-test/Endless-v0", entry_point=Endless, disable_env_checker=True)
    config = GymWorldConfig(
        tasks=["vla-test/Endless-v0"], cameras={"top": "render"}, success="won", hz=10, horizon=3
    )
    world = config.build("vla-test/Endless-v0")
    world.reset(seed=0)
    for tick in range(3):
        assert not world.outcome().ended, tick
        world.step(np.zeros(1, np.float32))
    assert world.outcome().reason == "truncated"
    world.close()
    with pytest.raises(ConfigError, match="horizon is 0"):
        GymWorldConfig(tasks=["vla-test/Endless-v0"], horizon=0)
