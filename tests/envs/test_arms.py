"""The Panda stands in for the primitive arm; joint actions do what deltas do; meshes shrink."""

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.arms import load_arm
from envs.arms.meshes import decimate
from envs.arms.panda import PANDA
from envs.config import TabletopConfig
from envs.demonstrations import record_episode
from envs.experts import EXPERTS
from envs.kinematics import ArmKinematics
from envs.mujoco_world import MujocoWorld
from envs.tasks import load_task
from vla.errors import ConfigError, UnknownChoice

needs_panda = pytest.mark.skipif(find_spec("gym_hil") is None, reason="extra 'panda' is missing")


HASH = "69eea065f40a3bcd004ade36ede9646131c25095ffb20b966705264a59a27f0d"


class Blind(MujocoWorld):
    """Without pictures, for speed."""

    def observe(self):
        return None


def sphere(rings):
    """A closed ball of unit radius: vertices and triangles."""
    from scipy.spatial import ConvexHull

    count = rings**2
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    points = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
    return points, ConvexHull(points).simplices


@given(st.integers(12, 40), st.integers(30, 600))
@settings(max_examples=15)
def test_a_reduced_ball_is_still_a_ball(rings, most):
    vertices, faces = decimate(*sphere(rings), most)
    assert len(faces) <= most
    assert len(faces) >= min(most, len(sphere(rings)[1])) / 3
    assert faces.max() < len(vertices)
    assert (np.abs(np.linalg.norm(vertices, axis=1) - 1) < 0.35).all()


def test_small_meshes_stay_as_they_are():
    points, faces = sphere(5)
    same, kept = decimate(points, faces, 1000)
    np.testing.assert_allclose(same, points, atol=1e-6)
    np.testing.assert_array_equal(kept, faces)


@needs_panda
def test_panda_has_the_primitive_arms_kinematics():
    ready = (0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4)
    ours, panda = ArmKinematics().forward(ready), ArmKinematics(PANDA).forward(ready)
    np.testing.assert_allclose(panda.rotation().as_matrix(), ours.rotation().as_matrix(), atol=1e-3)
    gap = panda.translation() - ours.translation()
    np.testing.assert_allclose(gap[:2], 0.0, atol=1e-3)  # its fingers are longer
    assert -0.06 < gap[2] < -0.04


@needs_panda
@pytest.mark.parametrize("task", ["place", "drawer", "knob"])
def test_experts_drive_the_panda(task):
    world = Blind(load_task(task), arm="panda")
    world.reset(seed=1)
    assert world.scene_state().opening > 0.95
    while not world.outcome().ended:
        world.step(EXPERTS[task](world.scene_state(), world.assignment))
    assert world.outcome().success


@needs_panda
def test_panda_is_another_body_that_can_be_seen():
    config = TabletopConfig(arm="panda", image_size=64)
    assert config.embodiment().hash != TabletopConfig(image_size=64).embodiment().hash
    assert config.embodiment().state == TabletopConfig().embodiment().state
    worlds = [config.build("lift"), TabletopConfig(image_size=64).build("lift")]
    one, other = (world.reset(seed=0).images["wrist"].astype(int) for world in worlds)
    assert np.abs(one - other).mean() > 2
    assert worlds[0].model.nmeshface < 25_000
    for world in worlds:
        world.close()


def test_a_missing_wheel_is_explained(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("envs.arms.panda.distribution", missing)
    with pytest.raises(ConfigError, match=r"vla-stack\[panda\]"):
        Blind(load_task("lift"), arm="panda")
    with pytest.raises(UnknownChoice, match="primitive"):
        load_arm("pnada")


def test_default_embodiment_is_what_checkpoints_carry():
    """Written down once: checkpoints and stores made before the suite must still fit."""
    assert TabletopConfig().embodiment().hash == HASH


def test_joint_actions_follow_the_experts_deltas():
    world = TabletopConfig(action="joint", cameras=["side"], image_size=16).build("lift")
    episode = record_episode(world, EXPERTS["lift"], seed=3)
    assert episode.action.shape[1] == 8
    low, high = np.array([(axis.low, axis.high) for axis in world.embodiment.action]).T
    assert ((episode.action >= low) & (episode.action <= high)).all()
    # A target is ahead of where the joints are, never far.
    lead = np.abs(episode.action[:, :7] - episode.state[:, :7])
    assert 0.005 < lead.max() < 0.35
    world.reset(seed=3)
    for action in episode.action:
        world.step(action)
    assert world.outcome().success
    world.close()


def test_joint_targets_are_approached_in_bounded_steps():
    world = Blind(load_task("lift"), action="joint")
    world.reset(seed=0)
    still = world.still()
    before = world.measure()[:7]
    world.step(still)
    np.testing.assert_allclose(world.measure()[:7], before, atol=2e-3)
    far = still.copy()
    far[0] = 2.0
    world.step(far)
    assert world.data.ctrl[0] - still[0] == pytest.approx(0.3, abs=1e-6)


def test_cameras_are_chosen_by_name():
    config = TabletopConfig(cameras=["side"], image_size=32)
    world = config.build("reach")
    assert list(world.reset(seed=0).images) == ["side"]
    world.close()
    with pytest.raises(UnknownChoice, match="side"):
        TabletopConfig(cameras=["sied"])
    with pytest.raises(ConfigError, match="each once"):
        TabletopConfig(cameras=["front", "front"])
    with pytest.raises(UnknownChoice, match="panda"):
        TabletopConfig(arm="ur5")
    with pytest.raises(UnknownChoice, match="joint"):
        TabletopConfig(action="torque")
