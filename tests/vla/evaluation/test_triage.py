from dataclasses import replace

import numpy as np
import pytest

from tests.vla.evaluation.fakes import EMBODIMENT, SeekPolicy
from tests.vla.evaluation.test_probes import record
from vla.evaluation.findings import CAUSES, Chain
from vla.evaluation.symptoms import estimate_lag
from vla.evaluation.triage import diagnose
from vla.types import ActionChunk

FINE = Chain(replayed={"as it is": 1.0, "no step limit": 1.0}, success=1.0, floor=0.0)


class Spoiled(SeekPolicy):
    """Plans without chance, but turned."""

    def __init__(self, turn=lambda actions: actions):
        super().__init__()
        self._turn = turn

    def act(self, observations, *, seeds):
        chunks = [self._seek(observation) for observation in observations]
        return [ActionChunk(actions=self._turn(c.actions), time=c.time) for c in chunks]

    def _seek(self, observation):
        goal = np.argwhere(observation.images["top"][-1, :, :, 1])[0] / 7.5 - 1
        move = np.clip((goal - observation.state[-1]) / 4, -0.2, 0.2).astype(np.float32)
        return ActionChunk(actions=np.repeat(move[None], 2, axis=0), time=observation.time)


@pytest.fixture(scope="module")
def live():
    return [record(seed, policy=Spoiled()) for seed in range(12)]


@pytest.mark.parametrize(
    ("cause", "turn"),
    [
        ("axis sign", lambda a: a * np.float32([-1, 1])),
        ("axis order", lambda a: a[:, ::-1].copy()),
        ("action statistics", lambda a: (0.3 * a + 0.1).astype(np.float32)),
        ("not trained", lambda a: np.roll(a, 1) * 0 + np.float32(0.2)),
    ],
)
def test_a_planted_fault_is_named_first(live, cause, turn):
    findings, _ = diagnose(Spoiled(turn), live, chain=FINE)
    assert findings[0].cause == cause
    assert findings[0].remedy == CAUSES[cause]


def test_nothing_is_found_where_nothing_is_wrong(live):
    findings, figures = diagnose(Spoiled(), live, chain=FINE, reference=live)
    assert findings == []
    assert figures["error"] < 0.5 * figures["error_of_mean_action"]


@pytest.mark.parametrize("cause", ["step limit", "rate limits"])
def test_the_control_chain_is_blamed_when_a_limit_holds_demonstrations_back(live, cause):
    chain = Chain(replayed={"as it is": 0.1, f"no {cause}": 1.0}, success=0.0, floor=0.0)
    findings, _ = diagnose(Spoiled(), live, chain=chain)
    assert findings[0].cause == cause


def test_a_frozen_camera_and_a_sensor_with_another_zero_are_found(live):
    still = [replace(t, images={"top": t.images["top"][[0] * len(t)]}) for t in live]
    assert diagnose(Spoiled(), still, chain=FINE)[0][0].cause == "camera frozen"
    shifted = [replace(t, state=t.state + np.float32(5.0)) for t in live]
    found, _ = diagnose(Spoiled(), shifted, chain=FINE, reference=live)
    assert found[0].cause == "state statistics"
    generic = [finding.score for finding in found if finding.cause == "unlike training"]
    assert not generic or generic[0] < 0.5 * found[0].score  # it explains what is left only


def chase(seed, late, length=60):
    """A point after a dot that jumps every 15 ticks; its moves come `late` ticks after."""
    rng, waiting = np.random.default_rng(seed), [np.zeros(2)] * late
    point, states, actions = rng.uniform(-1, 1, 2), [], []
    images = np.zeros((length, 16, 16, 3), np.uint8)
    for tick in range(length):
        if tick % 15 == 0:
            row, column = rng.integers(0, 16, 2)
        images[tick, row, column, 1] = 255
        states.append(point)
        waiting.append(np.clip((np.array([row, column]) / 7.5 - 1 - point) / 4, -0.2, 0.2))
        actions.append(waiting[-1])
        point = point + waiting.pop(0)
    return replace(
        record(0), images={"top": images}, state=np.float32(states), action=np.float32(actions),
        time=np.arange(length) / EMBODIMENT.hz, success=not late,
    )  # fmt: skip


def test_an_arm_so_late_that_experts_fail_is_called_late_not_the_policy_untrained():
    known, late = ([chase(seed, ticks) for seed in range(6)] for ticks in (0, 4))
    broken = Chain(replayed={}, success=0.0, floor=0.0, experts=0.0)
    found, figures = diagnose(Spoiled(), late, chain=broken, reference=known)
    assert found[0].cause == "late actuation"
    assert figures["lag_ticks"]["live"] - figures["lag_ticks"]["training"] == 4
    assert "world impassable" in [finding.cause for finding in found]
    assert "not trained" not in [finding.cause for finding in found]


def test_two_of_many_axes_are_judged_by_their_own_error(live):
    """Among axes that are right, a fault on one would otherwise drown."""
    names = [finding.cause for finding in diagnose(Spoiled(), live, chain=FINE)[0]]
    assert names == []
    half = diagnose(Spoiled(lambda a: a * np.float32([1, -1])), live, chain=FINE)[0][0]
    assert half.cause == "axis sign"
    assert half.evidence.startswith("dy: ")
    assert half.score > 0.6


def test_what_is_left_is_drift(live):
    chain = Chain(replayed={"as it is": 1.0}, success=0.2, floor=0.0)
    (finding,) = diagnose(Spoiled(), live, chain=chain)[0]
    assert finding.cause == "drift"


@pytest.mark.parametrize("late", [0, 3])
def test_the_lag_is_that_of_the_data(late):
    rng = np.random.default_rng(0)
    action = rng.normal(size=(200, 2)).astype(np.float32)
    moved = np.concatenate([np.zeros((late, 2)), action[: 200 - late]])
    state = np.cumsum(np.concatenate([np.zeros((1, 2)), moved[:-1]]), axis=0).astype(np.float32)
    trajectory = record(0)
    long = replace(
        trajectory,
        images={"top": np.zeros((200, 16, 16, 3), np.uint8)},
        state=state,
        action=action,
        time=np.arange(200) / EMBODIMENT.hz,
    )
    lag, pairs = estimate_lag([long])
    assert lag == late
    assert pairs == {0: 0, 1: 1}
