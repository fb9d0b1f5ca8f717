"""A synchronous controller for arms that must not jump: its actions are followed within limits."""

import numpy as np

from vla.embodiment import Embodiment
from vla.runtime.controller import ChunkController
from vla.runtime.motion import MotionLimits, Mover
from vla.types import ActionChunk, Float32, Observation


class SteadyController:
    """Wraps a `ChunkController`; a `Pilot`, so that it hears what was really sent.

    A policy that is waited for makes the loop late, and after missed slots its next row lies
    further away than one step may be. The gate would refuse that row and every one after it;
    here the arm follows at its limits, and goes on from where a hold has left it.
    """

    holding = False

    def __init__(self, controller: ChunkController, limits: MotionLimits):
        """`limits`: of the motion, from the robot's gate."""
        self.embodiment: Embodiment = controller.embodiment
        self._controller = controller
        self._mover = Mover(self.embodiment, limits)
        states = {axis.name: index for index, axis in enumerate(self.embodiment.state)}
        names = [axis.name for axis in self.embodiment.action]
        self._measured = np.array([states.get(name, -1) for name in names], np.intp)
        self._last: Float32 | None = None

    def reset(self, *, seed: int) -> None:
        """Forget the last episode."""
        self._controller.reset(seed=seed)
        self._last = None

    def __call__(self, observation: Observation) -> Float32:
        """The wrapped controller's action, as far as it can be reached in one tick.

        One that is not finite is passed on as it is: the gate refuses it, the log shows it.
        """
        action = self._controller(observation)
        if not np.isfinite(action).all():
            return action
        if self._last is None:
            state = observation.state[-1]
            here = np.where(self._measured >= 0, state[self._measured], action)
            self._mover.start(here.astype(np.float32))
        self._last = self._mover.follow(action)
        return self._last

    @property
    def chunk(self) -> ActionChunk | None:
        """The plan in use."""
        return self._controller.chunk

    @property
    def chunk_index(self) -> int:
        """Plans of this episode, minus one."""
        return self._controller.chunk_index

    @property
    def row(self) -> int:
        """Row of the plan behind the last command."""
        return self._controller.row

    def plan_age(self, now: float) -> float:
        """0: this controller waits for its plans."""
        return 0.0

    def sent(self, command: Float32) -> None:
        """What was really sent; the motion goes on from there."""
        if self._last is None:
            self._mover.start(command)
        elif not np.array_equal(command, self._last):
            self._mover.sent(command)
        self._last = command.copy()
