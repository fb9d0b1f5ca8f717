"""The way home: after an episode that ended well, slowly and through the same gate."""

import numpy as np

from robot_drivers.causes import Cause
from robot_drivers.replay import motion_limits
from robot_drivers.robot_world import RobotWorld
from vla.errors import ConfigError, RobotError
from vla.runtime.motion import Mover
from vla.types import Float32, Observation, Outcome

ARRIVED = 0.01
"""Metres or radians from home at which the arm is there."""
PACE = 0.5
"""Share of the gate's limits that the way home uses."""
GAIN = 0.1
"""Share of the remaining way that one step of a delta axis asks for."""


class ReturningWorld:
    """Wraps a `RobotWorld`; only `close` differs: it brings the arm home first.

    It does not when the gate is latched, nobody has moved the arm yet, or a device failed:
    then the arm stays where it is. The way is a straight line in the commanded axes; whether
    something stands there is the operator's to know, the gate's space is kept.
    """

    def __init__(self, world: RobotWorld, home: list[float], *, seconds: float):
        """Wrap `world`.

        Args:
            world: the robot.
            home: one number per action axis, in units of its measured axis.
            seconds: most time that the way may take.

        Raises:
            ConfigError: for the wrong number of axes.
        """
        self.embodiment, self._world = world.embodiment, world
        axes = self.embodiment.action
        if len(home) != len(axes):
            raise ConfigError(
                f"robot.home has {len(home)} numbers; {self.embodiment.name!r} has the axes "
                f"{[axis.name for axis in axes]}."
            )
        self._home, self._seconds = np.array(home, np.float32), seconds
        self._observation: Observation | None = None

    def reset(self, *, seed: int) -> Observation:
        """The wrapped world's."""
        self._observation = None
        return self._world.reset(seed=seed)

    def step(self, action: Float32) -> Observation:
        """The wrapped world's."""
        self._observation = None  # unknown until the step has succeeded
        self._observation = self._world.step(action)
        return self._observation

    def outcome(self) -> Outcome:
        """The wrapped world's."""
        return self._world.outcome()

    def close(self) -> None:
        """Go home, then close; closes as well when the way home fails."""
        observation, self._observation = self._observation, None
        try:
            if observation is not None and self._world.gate.latch_cause is Cause.NONE:
                self._go_home(observation)
        finally:
            self._world.close()

    def _go_home(self, observation: Observation) -> None:
        """Step until the arm is there or the time is over. Raises RobotError when it is."""
        body, gate = self.embodiment, self._world.gate
        states = {axis.name: index for index, axis in enumerate(body.state)}
        delta = np.array([axis.mode == "delta" for axis in body.action])
        names = [a.name[1:] if a.mode == "delta" and a.name not in states else a.name
                 for a in body.action]  # fmt: skip
        measured = np.array([states.get(name, -1) for name in names])
        mover = Mover(body, motion_limits(gate, share=PACE))
        mover.start(*gate.course)
        for _ in range(round(self._seconds * body.hz)):
            here = np.where(measured >= 0, observation.state[-1][measured], self._home)
            if (np.abs(here - self._home) < ARRIVED).all() and mover.at_rest:
                return
            step = np.where(delta, GAIN * (self._home - here), self._home)
            observation = self._world.step(mover.follow(step.astype(np.float32)))
        raise RobotError(
            f"The arm was not home within {self._seconds:.0f} s (robot.home_time); it is held "
            "where it is."
        )
