"""Recorded demonstrations."""

import numpy as np
import pytest

from envs.config import TabletopConfig
from envs.demonstrations import Disturbance, record_demonstrations, record_episode
from envs.experts import EXPERTS
from vla.errors import ConfigError, DataError

CONFIG = TabletopConfig(image_size=32)


@pytest.fixture(scope="module")
def world():
    built = CONFIG.build("lift")
    yield built
    built.close()


def same(left, right):
    np.testing.assert_array_equal(left.action, right.action)
    np.testing.assert_array_equal(left.state, right.state)
    np.testing.assert_array_equal(left.images["wrist"], right.images["wrist"])
    np.testing.assert_array_equal(left.labels["target"], right.labels["target"])
    assert (left.instruction, left.source) == (right.instruction, right.source)


def test_an_episode_holds_what_the_expert_answered(world):
    episode = record_episode(world, EXPERTS["lift"], seed=3)
    assert episode.success
    assert episode.images["front"].shape == (len(episode), 32, 32, 3)
    assert {name: rows.shape[1] for name, rows in episode.labels.items()} == {
        "target": 2,
        "goal": 2,
        "target_offset": 3,
        "goal_offset": 3,
    }
    np.testing.assert_allclose(np.diff(episode.time), 0.05, atol=1e-9)
    # Replaying the recorded actions reproduces the recorded states.
    observation = world.reset(seed=3)
    for state, action in zip(episode.state, episode.action, strict=True):
        np.testing.assert_array_equal(observation.state[0], state)
        observation = world.step(action)
    assert world.outcome().success


def test_with_noise_the_recorded_action_is_the_correction(world):
    noisy = record_episode(world, EXPERTS["lift"], seed=2, noise=1.0)
    clean = record_episode(world, EXPERTS["lift"], seed=2)
    same(noisy, record_episode(world, EXPERTS["lift"], seed=2, noise=1.0))
    assert len(noisy) > len(clean)
    np.testing.assert_array_equal(noisy.state[0], clean.state[0])
    assert np.abs(noisy.state[:, 10:13]).max() > 0.02
    # Wherever the tool is turned clearly, the recorded action turns it back.
    turned = np.abs(noisy.state[:, 10:12]) > 0.03
    assert (np.sign(noisy.action[:, 3:5]) == -np.sign(noisy.state[:, 10:12]))[turned].all()


def test_disturbance_comes_in_stretches_and_spares_the_gripper():
    disturb = Disturbance(1.0, np.random.default_rng(0))
    action = np.zeros(7, np.float32)
    added = np.array([disturb(action) for _ in range(4000)])
    assert (added[:, 6] == 0).all()
    active = (added != 0).any(axis=1)
    assert 0.2 < active.mean() < 0.6
    starts = np.flatnonzero(np.diff(active.astype(int)) == 1)
    assert active.sum() / len(starts) > 3
    run = active[1:] & active[:-1]
    correlation = np.corrcoef(added[1:][run][:, 0], added[:-1][run][:, 0])[0, 1]
    assert correlation > 0.5
    assert (Disturbance(0.0, np.random.default_rng(0))(action) == 0).all()


def test_workers_change_nothing():
    options = {"tasks": ["reach", "lift"], "episodes_per_task": 2, "seed": 7, "noise": 0.5}
    alone = list(record_demonstrations(CONFIG, workers=1, **options))
    many = list(record_demonstrations(CONFIG, workers=2, **options))
    assert [e.source["task"] for e in alone] == ["reach", "lift", "reach", "lift"]
    for left, right in zip(alone, many, strict=True):
        same(left, right)
    assert len({e.source["seed"] for e in alone}) == 4
    assert min(e.source["seed"] for e in alone) >= 2**32


def test_failed_episodes_are_not_demonstrations(world):
    def idle(state, assignment):
        return np.array([0, 0, 0, 0, 0, 0, 1], np.float32)

    assert record_episode(world, idle, seed=0) is None


def test_hopeless_noise_and_senseless_numbers_are_errors(monkeypatch):
    with pytest.raises(ConfigError, match="episodes_per_task"):
        list(record_demonstrations(CONFIG, tasks=["lift"], episodes_per_task=0))
    monkeypatch.setattr("envs.demonstrations.record_episode", lambda *a, **k: None)
    with pytest.raises(DataError, match="lower the noise"):
        list(record_demonstrations(CONFIG, tasks=["lift"], episodes_per_task=1, workers=1))
