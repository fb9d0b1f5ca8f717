import numpy as np
import pytest

from vla.errors import ShapeError, UnknownChoice, choose
from vla.types import ActionChunk, Observation, Trajectory


def observe(**change):
    values = {
        "images": {"front": np.zeros((2, 4, 5, 3), np.uint8)},
        "state": np.zeros((2, 3), np.float32),
        "instruction": "lift",
        "time": 0.0,
    }
    return Observation(**{**values, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"state": np.zeros((2, 3))},
        {"state": np.full((2, 3), np.nan, np.float32)},
        {"state": np.zeros(3, np.float32)},
        {"images": {"front": np.zeros((1, 4, 5, 3), np.uint8)}},
        {"images": {"front": np.zeros((2, 4, 5, 3), np.float32)}},
        {"depth": {"front": np.zeros((2, 4), np.float32)}},
        {"pending": np.zeros(3, np.float32)},
        {"pending": np.full((1, 3), np.nan, np.float32)},
        {"tentative": np.zeros(3, np.float32)},
        {"tentative": np.zeros((1, 3))},
        {"tentative": np.full((1, 3), np.inf, np.float32)},
        {"state": [[0.0]]},
    ],
)
def test_observation_refuses(change):
    assert observe().state.shape == (2, 3)
    with pytest.raises(ShapeError):
        observe(**change)


def test_chunk_refuses_no_rows():
    with pytest.raises(ShapeError, match="no rows"):
        ActionChunk(actions=np.zeros((0, 7), np.float32), time=0.0)


def test_trajectory_lengths_agree():
    good = {
        "images": {"front": [b"jpeg"] * 3},
        "state": np.zeros((3, 2), np.float32),
        "action": np.zeros((3, 1), np.float32),
        "instruction": "lift",
        "time": np.arange(3.0),
    }
    assert len(Trajectory(**good)) == 3
    for change in (
        {"action": np.zeros((2, 1), np.float32)},
        {"time": np.arange(2.0)},
        {"images": {"front": [b"jpeg"] * 2}},
        {"labels": {"target": np.zeros((2, 2), np.float32)}},
        {"state": np.zeros((0, 2), np.float32)},
    ):
        with pytest.raises(ShapeError):
            Trajectory(**{**good, **change})


def test_choose_suggests_the_nearest_name():
    assert choose("head", "flow", {"flow": 1}) == 1
    with pytest.raises(UnknownChoice, match=r"'flwo'. Did you mean 'flow'\? Choices: flow, tokens"):
        choose("head", "flwo", {"tokens": 1, "flow": 2})
