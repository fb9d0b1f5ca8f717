"""A flight once more, from its log alone: the same commands, bit for bit, or a difference found.

What the policy planned and what the sensors measured is in the log; the controller and the gate
are functions of that. So a change of either can be tried on a flight that happened, and a
difference where nothing was changed is a bug, or a log that was tampered with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_drivers.causes import Cause
from robot_drivers.device import Pilot
from robot_drivers.gate import SafetyGate
from vla.contract import Controller
from vla.embodiment import Embodiment
from vla.errors import RobotError
from vla.runtime.config import AsyncControlConfig, ControlConfig
from vla.runtime.controller import ChunkController
from vla.runtime.follower import PlanFollower
from vla.runtime.motion import MotionLimits
from vla.runtime.plan_log import LoggedPlan
from vla.runtime.record import Flight
from vla.types import ActionChunk, Float32, Observation

OUTSIDE = (Cause.STOP, Cause.ESTOP, Cause.FAULT)
"""Latched by somebody else than the gate: a replay latches where the log says so."""


@dataclass(kw_only=True, slots=True)
class Replay:
    """What came out.

    Attributes:
        ticks: how many were computed again.
        wanted, gated, causes: indices of ticks where the controller's command, the gate's
            command or its verdict differ from the log.
    """

    ticks: int = 0
    wanted: list[int] = field(default_factory=list)
    gated: list[int] = field(default_factory=list)
    causes: list[int] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not (self.wanted or self.gated or self.causes)


def replay_flight(
    flight: Flight,
    plans: Sequence[LoggedPlan],
    *,
    control: ControlConfig,
    gate: SafetyGate,
    policy_body: Embodiment,
    steady: Callable[[Controller], Controller] = lambda controller: controller,
) -> Replay:
    """Run the controller and `gate` over the log.

    Args:
        flight: one episode.
        plans: those beside its log.
        control: the controller's configuration, of the flight or another.
        gate: built for the flight's embodiment; its memory is used up.
        policy_body: the policy's embodiment, which a faster stream differs from.
        steady: what the robot put around a synchronous controller (`RobotConfig.steady`).
    """
    chunks = {plan.index: plan.chunk for plan in plans}
    if isinstance(control, AsyncControlConfig):
        follower = PlanFollower(policy_body, config=control, limits=motion_limits(gate))
        commands = _FollowedLog(follower, chunks)
    else:
        recorded = _RecordedPolicy(policy_body, chunks)  # chose and joined its plans already
        commands = _SteppedLog(steady(ChunkController(recorded, config=control)))
    result = Replay()
    for index, tick in enumerate(flight.ticks):
        cause = Cause(tick["cause"])
        if cause is Cause.FAULT:  # a device failed: what it had been sent by then is unknown
            break
        result.ticks += 1
        action = commands.command(tick)
        if action is None or action.tobytes() != tick["wanted"].tobytes():
            result.wanted.append(index)
            action = tick["wanted"]
        if cause in OUTSIDE and gate.latch_cause is Cause.NONE:
            gate.latch(cause)
        verdict = gate.judge(
            np.array(action),
            state=np.array(tick["state"]),
            age=float(tick["age"]),
            plan_age=float(tick["plan_age"]),
            missed=int(tick["missed"]),
        )
        if verdict.sent.tobytes() != tick["gated"].tobytes():
            result.gated.append(index)
        if verdict.cause is not cause:
            result.causes.append(index)
        commands.sent(np.array(tick["gated"]))
    return result


def motion_limits(gate: SafetyGate, *, share: float = 0.98) -> MotionLimits:
    """Limits for the controller, a little inside the gate's: what it shapes is let through."""
    speed, acceleration = gate.motion
    return MotionLimits(speed=speed * share, acceleration=acceleration * share, margin=gate.margins)


class _FollowedLog:
    """The asynchronous controller, given each plan in the tick that admitted it."""

    def __init__(self, follower: PlanFollower, chunks: dict[int, ActionChunk]):
        self._follower, self._chunks = follower, chunks

    def command(self, tick: np.void) -> Float32:
        """What the controller says in this tick."""
        now, newest = float(tick["due"]), int(tick["chunk"])
        if tick["resumed"]:
            self._follower.resume()
        if newest > self._follower.chunk_index and newest in self._chunks:
            self._follower.accept(self._chunks[newest], now=now)
        return self._follower.command(np.array(tick["state"]), now=now)

    def sent(self, command: Float32) -> None:
        """See `PlanFollower.sent`."""
        self._follower.sent(command)


class _SteppedLog:
    """The synchronous controller with a policy that repeats what it planned."""

    def __init__(self, controller: Controller):
        self._controller = controller
        controller.reset(seed=0)

    def command(self, tick: np.void) -> Float32 | None:
        """What the controller says in this tick; None when it wants a plan that never was."""
        state, when = np.array(tick["state"])[None], float(tick["state_time"])
        observation = Observation(images={}, state=state, instruction="", time=when)
        try:
            return self._controller(observation)
        except RobotError:
            return None

    def sent(self, command: Float32) -> None:
        """Told to controllers that ask what became of their commands."""
        if isinstance(self._controller, Pilot):
            self._controller.sent(command)


class _RecordedPolicy:
    """Plans what the flight planned, in order."""

    history = 1

    def __init__(self, embodiment: Embodiment, chunks: dict[int, ActionChunk]):
        self.embodiment = embodiment
        self._chunks = iter([chunks[index] for index in sorted(chunks)])

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """The next plan. Raises RobotError when the log has no more."""
        chunk = next(self._chunks, None)
        if chunk is None:
            raise RobotError(
                "The replay asks for a plan that the flight never made; was control changed?"
            )
        return [chunk]
