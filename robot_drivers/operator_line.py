"""The operator at the terminal: a line per change of state; Enter ends a hold that waits for it."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from robot_drivers.stops import StopKey, StopSource
from vla.runtime.states import State

PAUSE = 0.25
"""Seconds between two lines at least; a state that is over before is not shown."""
WORDS = {
    "FAR": "the plan is far from the arm. Enter: go there within limits. Space: stop",
    "PLAN": "no fresh plan; goes on by itself",
    "STALE": "state or pictures are old; goes on by itself",
    "OVERRUN": "the loop was late; goes on by itself",
    "TRACKING": "a joint does not follow; free the arm, it goes on by itself",
}
"""What a person should know, by cause; other causes are told by name."""


class OperatorLine:
    """Implements `device.Operator`; never waits, not even for a terminal that stands still."""

    def __init__(
        self,
        stops: Sequence[StopSource],
        *,
        terminal: str = "/dev/tty",
        clock: Callable[[], float] = time.monotonic,
    ):
        """`stops`: those that are asked; a `StopKey` among them gives the keys."""
        self._keys = [source for source in stops if isinstance(source, StopKey)]
        self._clock, self._shown, self._when = clock, ("", ""), -PAUSE
        self._terminal = -1
        if self._keys:
            with suppress(OSError):  # its own opening: the standard output must go on waiting
                self._terminal = os.open(terminal, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)

    def show(self, state: State, why: str) -> None:
        """Write a line when state or reason changed."""
        told = state.name, why
        if told == self._shown or self._terminal < 0 or self._clock() - self._when < PAUSE:
            return
        self._shown, self._when = told, self._clock()
        words = WORDS.get(why, why.lower().replace("_", " "))
        line = f"{state.name}{': ' if words else ''}{words}\n"
        with suppress(OSError):  # a terminal that takes nothing now misses this line
            os.write(self._terminal, line.encode())

    def resumes(self) -> bool:
        """Whether Enter was hit since the last question."""
        return any([key.resumes() for key in self._keys])

    def close(self) -> None:
        """Let go of the terminal; idempotent."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
