"""What a policy is told of its last plan, and how much of that is already decided."""

from collections import deque
from dataclasses import replace

import numpy as np

from vla.runtime.chunking import ChunkExecution
from vla.types import Observation


class DelayEstimate:
    """How long plans take, after the last few of them: a quantile over a window.

    It forgets: one slow plan (a first one, a busy machine) counts for `window` plans, not for
    the rest of the flight as a maximum would.
    """

    def __init__(self, *, window: int, quantile: float):
        """`window` plans count; the delay is their `quantile` (0 to 1), one that occurred."""
        self._seen: deque[float] = deque(maxlen=window)
        self._quantile = quantile

    def reset(self) -> None:
        """Forget everything."""
        self._seen.clear()

    def add(self, seconds: float) -> None:
        """A plan was there so many seconds after its observation."""
        self._seen.append(seconds)

    def rows(self, hz: float, *, lead: float = 0.0) -> int:
        """Rows at `hz` that are carried out before a plan asked for now is there.

        Args:
            hz: rate of the rows.
            lead: seconds by which commands are sent ahead of their time.
        """
        if not self._seen:
            return 0
        delay = float(np.quantile(list(self._seen), self._quantile, method="higher"))
        return max(int(np.ceil((delay + lead) * hz - 1e-6)), 0)


def tell(observation: Observation, execution: ChunkExecution, *, committed: int) -> Observation:
    """`observation` with what is left of the newest plan, its first `committed` rows as pending.

    A plan that is not finite is not passed on.
    """
    rows = execution.ahead(observation.time)
    if rows is None or not np.isfinite(rows).all():
        return observation
    pending, tentative = rows[:committed], rows[committed:]
    return replace(
        observation,
        pending=pending if len(pending) else None,
        tentative=tentative if len(tentative) else None,
    )
