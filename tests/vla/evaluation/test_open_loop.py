import json
from dataclasses import replace

import numpy as np
import pytest

from tests.vla.evaluation.fakes import EMBODIMENT
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Embodiment
from vla.errors import DataError
from vla.evaluation.open_loop import measure_open_loop, observe, stay
from vla.types import ActionChunk, Trajectory

LENGTHS = (7, 12, 9, 10)


class Oracle:
    """Plans what was demonstrated, plus a constant; reads the step off the state."""

    embodiment = EMBODIMENT
    history = 2

    def __init__(self, actions, offset):
        self._actions, self._offset = actions, np.array(offset, np.float32)

    def act(self, observations, *, seeds):
        return [self._plan(observation) for observation in observations]

    def _plan(self, observation):
        assert observation.images["top"].shape == (2, 16, 16, 3)
        episode, step = np.round(observation.state[-1] * 100).astype(int)
        rows = np.minimum(np.arange(step, step + 4), LENGTHS[episode] - 1)
        chunk = self._actions[episode][rows] + self._offset
        chunk[step + np.arange(4) >= LENGTHS[episode]] = 99.0  # past the end: must not count
        return ActionChunk(actions=chunk, time=observation.time)


@pytest.fixture
def recorded(tmp_path):
    rng = np.random.default_rng(0)
    store = TrajectoryStore.create(tmp_path / "store", embodiment=EMBODIMENT, provenance={})
    actions = []
    for episode, length in enumerate(LENGTHS):
        actions.append(rng.uniform(-0.2, 0.2, (length, 2)).astype(np.float32))
        state = np.stack([np.full(length, episode), np.arange(length)], axis=1) / 100
        store.append(
            Trajectory(
                images={"top": rng.integers(0, 255, (length, 16, 16, 3), np.uint8)},
                state=state.astype(np.float32),
                action=actions[-1],
                instruction="touch",
                time=np.arange(length) / 10,
            )
        )
    return store, actions


def test_errors_are_those_of_the_arithmetic(recorded):
    store, actions = recorded
    result = measure_open_loop(
        Oracle(actions, (0.01, -0.02)),
        store,
        held_out=[2, 3],
        train=[0, 1],
        stride=1,
        batch=5,
    )
    assert (result["episodes"], result["windows"], result["horizon"]) == (2, 19, 4)
    for measure in ("l1_row_0", "l1_chunk", "rmse_row_0", "rmse_chunk"):
        cell = result["errors"]["policy"][measure]
        for bound in ("value", "low", "high"):
            assert cell[bound] == pytest.approx([0.01, 0.02], abs=1e-6)
    mean = np.concatenate(actions[:2]).astype(np.float64).mean(0)
    held = np.concatenate(actions[2:]).astype(np.float64)
    guess = result["errors"]["mean_action"]
    assert guess["l1_row_0"]["value"] == pytest.approx(np.abs(held - mean).mean(0))
    assert guess["rmse_row_0"]["value"] == pytest.approx(((held - mean) ** 2).mean(0) ** 0.5)
    previous = np.concatenate([np.concatenate([mean[None], a[:-1]]) for a in actions[2:]])
    value = result["errors"]["previous_action"]["l1_row_0"]
    assert value["value"] == pytest.approx(np.abs(held - previous).mean(0))
    assert all(np.array(value["low"]) < value["value"])
    assert all(np.array(value["high"]) > value["value"])
    assert json.loads(json.dumps(result)) == result


def test_history_before_the_episode_repeats_its_first_step(recorded):
    store, _ = recorded
    trajectory = store.episode(1)
    early, late = observe(trajectory, 0, 3), observe(trajectory, 5, 3)
    assert (early.state == trajectory.state[[0, 0, 0]]).all()
    assert (late.state == trajectory.state[3:6]).all()
    assert (late.images["top"] == trajectory.images["top"][3:6]).all()
    assert late.time == pytest.approx(0.5)


def test_training_episodes_are_refused(recorded):
    store, actions = recorded
    policy = Oracle(actions, (0, 0))
    with pytest.raises(DataError, match="1 of them also in the training split"):
        measure_open_loop(policy, store, held_out=[1, 2], train=[0, 1])
    with pytest.raises(DataError, match="0 given"):
        measure_open_loop(policy, store, held_out=[], train=[0, 1])


def test_staying_is_known_where_the_state_tells_it():
    joints = tuple(Axis(name=n, unit="rad", low=-1, high=1, frame="joint") for n in "abc")
    body = Embodiment(name="b", state=joints, action=joints[::-1], cameras={}, hz=10)
    state = np.array([[0.1, 0.2, 0.3]], np.float32)
    np.testing.assert_allclose(stay(body, state), state[:, ::-1])
    step = Axis(name="dx", unit="m", low=-1, high=1, mode="delta")
    np.testing.assert_array_equal(stay(replace(body, action=(step,)), state), [[0.0]])
    unknown = Axis(name="d", unit="rad", low=-1, high=1)
    assert stay(replace(body, action=(unknown,)), state) is None
