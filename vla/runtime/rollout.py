"""One rollout for simulation and robots: observe, act, step, until the world says it ended.

There is no clock and no branch on "real" here. `World.step` returns at the next
control tick, in simulation by advancing physics and on a robot by waiting for its
deadline, so what is evaluated is what is deployed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vla.contract import Controller, World
from vla.embodiment import Embodiment
from vla.types import Float32, Observation, Outcome


@runtime_checkable
class Embodied(Protocol):
    """A controller that knows which body it speaks to (a scripted one may not)."""

    embodiment: Embodiment


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """One control tick.

    Attributes:
        index: from 0.
        observation: what the controller saw (T == 1).
        action: float32 (A,), what it asked for; the world may have refused it.
        next_observation: what the world returned (T == 1).
        outcome: how the episode stands after the tick.
    """

    index: int
    observation: Observation
    action: Float32
    next_observation: Observation
    outcome: Outcome


def rollout(
    world: World, controller: Controller, *, seed: int, max_steps: int | None = None
) -> Iterator[Tick]:
    """Run one episode, lazily; nothing moves until the first `next`.

    The world is left open: the caller closes it, also when it stops early.

    Args:
        world: reset with `seed` before the first tick.
        controller: reset with `seed`; when it carries an embodiment, it must fit the world's.
        seed: decides the episode, as far as the world and the policy can repeat themselves.
        max_steps: stop after so many ticks; None: only when the world says it ended.

    Yields:
        One Tick per step; the last one has `outcome.ended` unless `max_steps` came first.

    Raises:
        EmbodimentMismatch: before the first step, when controller and world differ.
        ShapeError, RobotError: whatever the controller or the world refuses.
    """
    if isinstance(controller, Embodied):
        controller.embodiment.require(world.embodiment, mine="policy", theirs="world")
    controller.reset(seed=seed)
    observation = world.reset(seed=seed)
    index = 0
    while max_steps is None or index < max_steps:
        action = controller(observation)
        following = world.step(action)
        outcome = world.outcome()
        yield Tick(
            index=index,
            observation=observation,
            action=action,
            next_observation=following,
            outcome=outcome,
        )
        if outcome.ended:
            return
        observation = following
        index += 1
