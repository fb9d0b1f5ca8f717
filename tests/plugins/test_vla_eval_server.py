"""Our policies behind the public harness's own client."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vla.embodiment import Axis, Camera, Embodiment
from vla.types import ActionChunk

pytest.importorskip("vla_eval", reason="vla-eval is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "vla_eval_server"))

BODY = Embodiment(
    name="arm",
    state=tuple(Axis(name=f"q{k}", unit="rad", low=-3, high=3) for k in range(2)),
    action=tuple(Axis(name=f"dq{k}", unit="rad", low=-1, high=1) for k in range(3)),
    cameras={"front": Camera(height=16, width=24)},
    hz=10.0,
)


class Counting:
    """Plans ten rows: the number of the call, the row, the mean of the newest picture."""

    embodiment, history = BODY, 2

    def __init__(self):
        self.seen = []

    def act(self, observations, *, seeds):
        (observation,) = observations
        self.seen.append(observation)
        rows = np.zeros((10, 3), np.float32)
        rows[:, 0], rows[:, 1] = len(self.seen), np.arange(10)
        rows[:, 2] = observation.images["front"][-1].mean()
        return [ActionChunk(actions=rows, time=observation.time)]


def message(value, **changes):
    picture = np.full((32, 48, 3), value, np.uint8)
    return {
        "images": {"agentview": picture},
        "state": np.array([0.1, 0.2]),
        "task_description": "lift",
        **changes,
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_harness_client_gets_our_rows_one_by_one():
    import anyio
    from vla_eval.api import serve_background
    from vla_eval.connection import Connection
    from vla_eval_server import PolicyModelServer

    policy = Counting()
    server = PolicyModelServer(policy, cameras={"front": "agentview"}, execute=4)

    async def play(url):
        actions = []
        async with Connection(url) as connection:
            for _ in range(2):
                await connection.start_episode({"name": "lift"})
                for tick in range(6):
                    answer = await connection.act(message(10 * tick))
                    actions.append(np.asarray(answer["actions"]))
                await connection.end_episode({"success": False})
        return np.array(actions)

    with serve_background(server) as handle:
        actions = anyio.run(play, handle.url)
    assert actions[:, 0].tolist() == [1] * 4 + [2] * 2 + [3] * 4 + [4] * 2
    assert actions[:, 1].tolist() == [0, 1, 2, 3, 0, 1] * 2
    assert actions[4, 2] == 40
    first, _, again, _ = policy.seen
    assert first.images["front"].shape == (2, 16, 24, 3)
    assert first.instruction == "lift"
    assert (again.images["front"] == 0).all()  # nothing is left of the episode before


def test_what_is_missing_is_named():
    from vla_eval.model_servers.base import SessionContext
    from vla_eval_server import PolicyModelServer

    from vla.errors import ServingError

    server = PolicyModelServer(Counting(), execute=4)
    context = SessionContext("session", "episode")
    with pytest.raises(ServingError, match=r"'front'.*agentview"):
        server.predict(message(0), context)
    server = PolicyModelServer(Counting(), cameras={"front": "agentview"}, params={"send_state": 1})
    with pytest.raises(ServingError, match="3 numbers"):
        server.predict(message(0, state=np.zeros(3)), context)
    assert server.get_observation_params() == {"send_state": 1}
    assert server.get_action_spec()["raw"].dims == 3
    assert set(server.get_observation_spec()) == {"image", "language", "state"}
