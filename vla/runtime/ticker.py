"""Ticks on an absolute grid: slot k is due at t0 + k / hz on the monotonic clock.

Sleeping "the rest of the period" adds up every overshoot (50 Hz become 46 to 48); an
absolute grid does not. A stall costs the slots it covered: they are skipped and counted,
and never made up for by a burst of commands.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

MARGIN = 0.001
"""Seconds before the deadline at which the long sleep ends and short ones begin."""
NAP = 0.0002
"""Length of a short sleep, seconds; long enough to let other threads run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One tick of the grid.

    Attributes:
        index: k.
        deadline: t0 + k / hz, seconds.
        lateness: when the wait returned, minus `deadline`, seconds.
        missed: slots skipped between the last tick and this one.
    """

    index: int
    deadline: float
    lateness: float
    missed: int


class Ticker:
    """Waits for the next slot of a grid that begins at `start`."""

    def __init__(
        self,
        hz: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        grace: float = 0.5,
    ):
        """Make a grid of `hz` slots per second.

        Args:
            hz: slots per second.
            clock: seconds; replaced in tests by a virtual one.
            sleep: waits so many seconds; replaced along with `clock`.
            grace: a slot that passed less than this share of a period ago is still run,
                late; an older one is skipped, so that two ticks never come closer than that.
        """
        self._period = 1.0 / hz
        self._clock, self._sleep, self._grace = clock, sleep, grace * self._period
        self._origin, self._index = 0.0, -1

    @property
    def started(self) -> bool:
        """Whether the grid has an origin."""
        return self._index >= 0

    def start(self) -> Slot:
        """Put slot 0 at the present; returns it."""
        self._origin, self._index = self._clock(), 0
        return Slot(index=0, deadline=self._origin, lateness=0.0, missed=0)

    def wait(self) -> Slot:
        """Return at the next slot that is not over yet."""
        behind = self._clock() - self._grace - self._origin
        index = max(self._index + 1, math.ceil(behind / self._period))
        missed = index - self._index - 1
        self._index = index
        deadline = self._origin + index * self._period
        while (left := deadline - self._clock()) > 0:
            self._sleep(left - MARGIN if left > 2 * MARGIN else min(left, NAP))
        return Slot(
            index=index, deadline=deadline, lateness=self._clock() - deadline, missed=missed
        )
