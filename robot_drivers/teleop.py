"""A person instead of a network: plans of one row that follow a hand, within speed limits.

Has the members of a Policy, so that `vla run` controls, guards, logs and records a person's
episodes as it does a policy's. It is not pure, as a Policy must be: hands move.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_drivers.config_teleop import TeleopConfig
from vla.embodiment import Embodiment
from vla.errors import ContractError
from vla.types import ActionChunk, Observation

PAUSE = 0.5
"""Seconds without a question after which the command starts from the measured pose again."""


class Hand(Protocol):
    """A device that a person moves."""

    def connect(self) -> None:
        """Open it. Raises RobotError with the remedy."""
        ...

    def goal(self, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the hand wants to go, (A,): positions on absolute axes, steps on delta axes.

        Args:
            command: (A,), the last command, on absolute axes.

        Raises:
            RobotError: when the device fails.
        """
        ...

    def close(self) -> None:
        """Release it; idempotent."""
        ...


class TeleopPolicy:
    """Follows a `Hand`: no jump, however far the hand is from the arm; `close` it when done."""

    history = 1

    def __init__(self, config: TeleopConfig, embodiment: Embodiment, hand: Hand):
        """Raises ContractError for absolute axes that the state does not measure."""
        self.embodiment = embodiment
        self._config, self._hand = config, hand
        names = [axis.name for axis in embodiment.state]
        self._delta = np.array([axis.mode == "delta" for axis in embodiment.action])
        loose = [
            axis.name
            for axis in embodiment.action
            if axis.mode != "delta" and axis.name not in names
        ]
        if loose:
            raise ContractError(f"Axes {loose} are not measured, so nobody can take them over.")
        self._measured = [
            names.index(axis.name) if axis.mode != "delta" else 0 for axis in embodiment.action
        ]
        self._low = np.array([axis.low for axis in embodiment.action])
        self._high = np.array([axis.high for axis in embodiment.action])
        self._time = -np.inf

    def connect(self) -> None:
        """Open the device. Raises RobotError."""
        self._hand.connect()

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """One row for one observation; `seeds` do not matter. Raises RobotError."""
        if len(observations) != 1:
            raise ContractError(f"A person drives one arm, not {len(observations)}.")
        now, state = observations[0].time, observations[0].state[-1].astype(float)
        if not 0 <= now - self._time <= PAUSE:
            self._command = np.where(self._delta, 0.0, state[self._measured])
            self._velocity = np.zeros(len(self._command))
        self._time = now
        goal = np.clip(self._hand.goal(self._command.copy()), self._low, self._high)
        self._command = np.where(self._delta, goal, self._follow(goal))
        return [ActionChunk(actions=self._command[None].astype(np.float32), time=now)]

    def close(self) -> None:
        """Release the device; idempotent."""
        self._hand.close()

    def _follow(self, goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next command on the way to `goal`, in time to stop there."""
        hz, most = self.embodiment.hz, self._config.acceleration
        distance = goal - self._command
        change = most / hz  # of the speed, in one tick
        # The speed from which whole ticks of braking end at the goal.
        soon = change * (np.sqrt(0.25 + 2 * np.abs(distance) * hz / change) - 0.5)
        fastest = np.minimum(np.minimum(soon, np.abs(distance) * hz), self._config.speed)
        wanted = np.sign(distance) * fastest
        self._velocity += np.clip(wanted - self._velocity, -change, change)
        return np.clip(self._command + self._velocity / hz, self._low, self._high)
