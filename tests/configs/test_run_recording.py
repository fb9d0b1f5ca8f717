"""`vla run record=...`: flights of the simulated tabletop arm become episodes of a store."""

import numpy as np
import pytest

from configs.run_job import RunJob
from configs.verbs.run import fly
from envs.config import TabletopConfig
from robot_drivers.config import SimArmConfig
from vla.data.store import TrajectoryStore
from vla.errors import EmbodimentMismatch
from vla.runtime.record import read_flight
from vla.types import ActionChunk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


class Drift:
    """A policy that creeps along x, without weights."""

    history = 1

    def __init__(self, embodiment):
        self.embodiment = embodiment

    def act(self, observations, *, seeds):
        rows = np.zeros((4, len(self.embodiment.action)), np.float32)
        rows[:, 0], rows[:, -1] = 0.001, 1.0
        return [ActionChunk(actions=rows, time=o.time) for o in observations]


def job(tmp_path, size):
    return RunJob(
        checkpoint="none",
        robot=SimArmConfig(),
        world=TabletopConfig(image_size=size),
        task="reach",
        seconds=0.5,
        until="time",
        record=str(tmp_path / "store"),
        output=str(tmp_path),
    )


def test_flights_are_added_to_one_store(tmp_path):
    wanted, facts = job(tmp_path, 32), {"job": {}, "weights_sha256": "abc"}
    body = wanted.world.embodiment()
    controller = wanted.control.build(Drift(body))
    for number in range(2):
        log = tmp_path / f"flight-{number}.vlalog"
        fly(wanted, controller, log, body=body, seed=number, facts=facts)
    store = TrajectoryStore.open(wanted.record)
    store.verify()
    assert store.provenance == {"made_by": "vla run", **facts}
    assert store.num_episodes == 2
    for number, record in enumerate(store.records):
        assert record.source["weights_sha256"] == "abc"
        assert record.source["flight"] == f"flight-{number}.vlalog"
        ticks, episode = (
            read_flight(tmp_path / record.source["flight"]).ticks,
            store.episode(number),
        )
        np.testing.assert_array_equal(episode.action, ticks["wanted"])
        np.testing.assert_array_equal(episode.state, ticks["state"])
        assert episode.images["front"].std() > 5
        assert record.instruction
    other = job(tmp_path, 48)
    with pytest.raises(EmbodimentMismatch, match="camera 'front'"):
        fly(other, controller, tmp_path / "c.vlalog", body=body, seed=0, facts=facts)
    assert not (tmp_path / "c.vlalog").exists()
