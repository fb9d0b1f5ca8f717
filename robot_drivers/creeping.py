"""An arm that stands outside its limits, back in: slowly, on the operator's word, once."""

from collections.abc import Callable

import numpy as np

from robot_drivers.replay import motion_limits
from robot_drivers.robot_world import RobotWorld
from vla.errors import RobotError
from vla.runtime.motion import Mover
from vla.types import Float32, Observation, Outcome

PACE = 0.1
"""Share of the gate's limits."""
INSIDE = 0.01
"""How far inside its limits a joint is brought, rad."""
SECONDS = 20.0


class CreepingWorld:
    """Wraps a `RobotWorld`; only `reset` differs: it brings joints that stand outside back in.

    Every step passes the gate, whose bounds reach out to the arm and close in behind it: no
    joint ever goes further out. Servos with limits of their own (EEPROM) go to those limits at
    once when they get their first goal; `most` bounds how far that can be.
    """

    def __init__(self, world: RobotWorld, *, most: float, agree: Callable[[list[str]], None]):
        """Wrap `world`.

        Args:
            world: the robot, commanded by absolute joints.
            most: rad outside at which it is moved by hand instead.
            agree: asks the operator, given what stands outside; raises RobotError for a no.
        """
        self.embodiment, self._world, self.gate = world.embodiment, world, world.gate
        self._most, self._agree = most, agree

    def reset(self, *, seed: int) -> Observation:
        """The wrapped world's, after the arm is inside.

        Raises:
            RobotError: when it stands too far out, nobody agrees, or it does not come in.
        """
        observation = self._world.reset(seed=seed, inside=False)
        problems = self._world.gate.check_start(observation.state[-1])
        if problems:
            self._creep(observation, problems)
        return self._world.reset(seed=seed)

    def step(self, action: Float32) -> Observation:
        """The wrapped world's."""
        return self._world.step(action)

    def outcome(self) -> Outcome:
        """The wrapped world's."""
        return self._world.outcome()

    def close(self) -> None:
        """The wrapped world's."""
        self._world.close()

    def _creep(self, observation: Observation, problems: list[str]) -> None:
        body, gate = self.embodiment, self._world.gate
        states = {axis.name: index for index, axis in enumerate(body.state)}
        if any(axis.name not in states or axis.mode != "absolute" for axis in body.action):
            raise RobotError(f"The arm may not start here: {'; '.join(problems)}. Move it by hand.")
        measured = np.array([states[axis.name] for axis in body.action])
        margin = np.array([gate.margin if axis.unit == "rad" else 0.0 for axis in body.action])
        low = np.array([axis.low for axis in body.action]) + margin
        high = np.array([axis.high for axis in body.action]) - margin
        here = observation.state[-1][measured]
        out = float(np.maximum(low - here, here - high).max())
        if not 0 < out <= self._most:
            raise RobotError(
                f"The arm may not start here: {'; '.join(problems)}. robot.creep is "
                f"{self._most} rad. Move it inside by hand."
            )
        self._agree(problems)
        gate.admit(observation.state[-1])
        inset = np.where(margin > 0, INSIDE, 0.0)
        goal = np.clip(here, low + inset, high - inset).astype(np.float32)
        goal = np.where((here < low) | (here > high), goal, here).astype(np.float32)
        mover = Mover(body, motion_limits(gate, share=PACE))
        mover.start(here)
        for _ in range(round(SECONDS * body.hz)):
            if not gate.check_start(observation.state[-1]) and mover.at_rest:
                return
            observation = self._world.step(mover.follow(goal))
        raise RobotError(f"The arm did not come inside its limits in {SECONDS:.0f} s; it is held.")
