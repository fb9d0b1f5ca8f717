"""LIBERO's conventions, each alone, and the simulator around a stand-in of robosuite's env."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from envs.benchmarks.config_arms import STEP_BUDGETS, LiberoWorldConfig
from envs.benchmarks.libero import (
    LiberoSimulator,
    libero_embodiment,
    read_states,
    write_package_config,
)
from envs.benchmarks.libero_conventions import (
    CLOSE,
    OPEN,
    SETTLE_ACTION,
    SETTLE_STEPS,
    assemble_state,
    to_rotation_vector,
    turn_upright,
)
from envs.benchmarks.world import BenchmarkWorld
from vla.errors import ConfigError, UnknownChoice


def test_step_budgets_and_settling():
    assert [STEP_BUDGETS[f"libero_{suite}"] for suite in ("spatial", "object", "goal", "10", "90")]\
        == [280, 280, 300, 520, 400]  # fmt: skip
    assert SETTLE_STEPS == 10
    assert SETTLE_ACTION == (0, 0, 0, 0, 0, 0, OPEN)
    assert (OPEN, CLOSE) == (-1, 1)


def test_pictures_are_turned_and_not_mirrored():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    turned = turn_upright(picture)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, np.rot90(picture, 2))
    np.testing.assert_array_equal(turned[0, 0], picture[-1, -1])


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_the_rotation_vector_turns_as_the_quaternion_and_is_never_folded(numbers):
    quaternion = np.array(numbers)
    length = np.linalg.norm(quaternion)
    if length < 1e-3:
        return
    quaternion /= length
    vector = to_rotation_vector(quaternion)
    difference = Rotation.from_rotvec(vector).inv() * Rotation.from_quat(quaternion)
    assert difference.magnitude() < 1e-3
    angle = np.linalg.norm(vector)
    assert angle <= 2 * np.pi + 1e-9
    if quaternion[3] < -1e-2 and 1 + quaternion[3] > 1e-4:
        assert angle > np.pi
        assert abs(angle - Rotation.from_quat(quaternion).magnitude()) > 1e-3


def test_xyzw_is_the_order_and_the_identity_is_zero():
    np.testing.assert_array_equal(to_rotation_vector([0, 0, 0, 1]), 0)
    quarter = to_rotation_vector([0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    np.testing.assert_allclose(quarter, [0, 0, np.pi / 2])
    np.testing.assert_allclose(
        to_rotation_vector([0, 0, -np.sqrt(0.5), -np.sqrt(0.5)]), [0, 0, -3 * np.pi / 2]
    )
    state = assemble_state(np.ones(3), np.array([0, 0, 0, 1.0]), np.array([0.02, -0.02]))
    assert state.dtype == np.float32
    np.testing.assert_allclose(state, [1, 1, 1, 0, 0, 0, 0.02, -0.02])


class FakeEnv:
    """Records what it is told, in the shape of robosuite's OffScreenRenderEnv."""

    def __init__(self):
        self.calls = []

    def _see(self):
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[0, 0] = 255  # turned, it is at the lower right
        return {
            "agentview_image": picture,
            "robot0_eye_in_hand_image": picture,
            "robot0_eef_pos": np.array([0.1, 0.2, 1.0]),
            "robot0_eef_quat": np.array([1.0, 0.0, 0.0, 0.0]),
            "robot0_gripper_qpos": np.array([0.04, -0.04]),
        }

    def seed(self, seed):
        self.calls.append(("seed", seed))

    def reset(self):
        self.calls.append(("reset",))

    def set_init_state(self, state):
        self.calls.append(("state", float(state[0])))
        return self._see()

    def step(self, action):
        self.calls.append(("step", list(action)))
        return self._see(), 0.0, False, {}

    def check_success(self):
        return sum(call[0] == "step" for call in self.calls) >= SETTLE_STEPS + 3

    def close(self):
        self.calls.append(("close",))


def test_an_episode_settles_first_and_counts_from_then():
    env = FakeEnv()
    states = np.arange(5.0)[:, None]
    world = BenchmarkWorld(
        LiberoSimulator(env, states), libero_embodiment(image_size=32),
        task="libero_goal/0", instruction="open the drawer", horizon=300,
    )  # fmt: skip
    first = world.reset(seed=1_000_007)
    assert env.calls[:3] == [("seed", 1_000_007), ("reset",), ("state", 2.0)]
    assert env.calls[3:] == [("step", list(SETTLE_ACTION))] * SETTLE_STEPS
    assert first.time == 0
    assert first.images["front"][0, -1, -1].tolist() == [255] * 3
    np.testing.assert_allclose(first.state[0, 3:6], [np.pi, 0, 0], rtol=1e-6)
    action = np.array([0.5, 0, 0, 0, 0, 0, CLOSE], np.float32)
    for _ in range(3):
        world.step(action)
    assert env.calls[-1] == ("step", action.tolist())  # no sign is flipped on the way
    assert world.outcome().success
    world.close()


def test_suites_are_spelled_out_and_a_missing_package_is_named():
    config = LiberoWorldConfig()
    assert len(config.tasks) == 40
    assert list(config.list_groups()) == [
        "libero_spatial", "libero_object", "libero_goal", "libero_10",
    ]  # fmt: skip
    assert len(LiberoWorldConfig(tasks=["libero_90"]).tasks) == 90
    with pytest.raises(UnknownChoice):
        LiberoWorldConfig(tasks=["libero_goal/10"])
    with pytest.raises(ConfigError, match="quality"):
        LiberoWorldConfig(quality="fast")
    from importlib.util import find_spec

    if find_spec("libero") is None:
        with pytest.raises(ConfigError, match=r"vla-stack\[libero\]"):
            config.build("libero_goal/0")


def test_the_packages_config_is_written_whole(tmp_path):
    import yaml

    write_package_config(tmp_path / "config", tmp_path / "libero")
    assert os.listdir(tmp_path / "config") == ["config.yaml"]
    written = yaml.safe_load((tmp_path / "config" / "config.yaml").read_text())
    assert set(written) == {"benchmark_root", "bddl_files", "init_states", "datasets", "assets"}


@pytest.mark.slow  # imports torch
def test_initial_states_are_read_without_running_pickled_code(tmp_path):
    import torch

    class Suite:
        def __init__(self, value):
            torch.save(value, tmp_path / "states.pruned_init")

        def get_task_init_states(self, number):
            # as the package does; ours must not let it run what a stranger's file says
            return torch.load(tmp_path / "states.pruned_init")

    states = np.random.default_rng(0).normal(size=(4, 7))
    np.testing.assert_array_equal(read_states(Suite(states), 0), states)
    import pickle

    with pytest.raises(pickle.UnpicklingError):
        read_states(Suite(os.getcwd), 0)


@pytest.mark.slow
def test_the_real_thing():
    pytest.importorskip("libero", reason="extra libero and its assets are not installed")
    world = LiberoWorldConfig(tasks=["libero_object/0"], image_size=64).build("libero_object/0")
    assert world.reset(seed=0).images["front"].std() > 5
    world.close()
