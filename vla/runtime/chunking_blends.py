"""Executions that mix the newest plan with older ones; what they cost is said in each class.

Averages are of what the plans would do at the same time, never of rows of the same number.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from vla.embodiment import Embodiment
from vla.runtime.chunking import NewestChunk
from vla.types import ActionChunk, Float32


class CrossFade(NewestChunk):
    """Goes over from plan to plan in a straight line, `fade` rows long.

    A plan that comes during a fade fades in over what is being sent, so that there is no
    jump there either. For so long the arm follows, in part, what was planned from older
    pictures. A plan that ends during a fade leaves the rest to the newest one.
    """

    def __init__(self, embodiment: Embodiment, *, fade: int, hz: float = 0.0):
        """`fade` 0 is `NewestChunk`."""
        self._fade = fade
        super().__init__(embodiment, hz=hz)

    def reset(self) -> None:
        """Forget every plan."""
        super().reset()
        self._fading: list[tuple[ActionChunk, float]] = []  # oldest first, when each began
        self._begun = True

    def accept(self, chunk: ActionChunk) -> None:
        """See `ChunkExecution`; the fade begins with the next `row`."""
        super().accept(chunk)
        if not self._begun and self._fading:
            self._fading.pop()  # nobody saw it
        self._fading.append((chunk, 0.0))
        self._begun = False

    def _mix(self, newest: Float32, time: float) -> Float32:
        if not self._begun:
            self._fading[-1] = (self._fading[-1][0], time)
            self._begun = True
        mixed: Float32 | None = None
        first = 0
        for number, (chunk, begun) in enumerate(self._fading):
            found = self._reader.read(chunk, time)
            if found is None:
                continue
            part = ((time - begun) * self._hz + 1) / (self._fade + 1)
            if mixed is None or part >= 1 - 1e-6:
                mixed, first = found[1], number
                continue
            mixed = (mixed + np.float32(part) * (found[1] - mixed)).astype(np.float32)
        self._fading = self._fading[first:]
        return newest if mixed is None else mixed


class TemporalEnsemble(NewestChunk):
    """The weighted mean of all plans that reach this time (ACT, Zhao et al., arXiv 2304.13705).

    The i-th oldest weighs exp(-decay i): a positive decay trusts old plans more, 0 all alike.
    Made for one plan per tick (`control.execute=1`). It averages over ways to do a task, too,
    when plans disagree about the way.
    """

    def __init__(self, embodiment: Embodiment, *, decay: float, window: int, hz: float = 0.0):
        """`window` is how many plans are kept at most."""
        self._decay, self._window = decay, window
        super().__init__(embodiment, hz=hz)

    def reset(self) -> None:
        """Forget every plan."""
        super().reset()
        self._plans: deque[ActionChunk] = deque(maxlen=self._window)

    def accept(self, chunk: ActionChunk) -> None:
        """See `ChunkExecution`."""
        super().accept(chunk)
        self._plans.append(chunk)

    def _mix(self, newest: Float32, time: float) -> Float32:
        found = (self._reader.read(plan, time) for plan in self._plans)
        rows = np.array([each[1] for each in found if each is not None], np.float64)  # (n, A)
        if len(rows) == 1:
            return newest
        return self._average(rows).astype(np.float32)

    def _average(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """One action (A,) of what n plans say, float64 (n, A), oldest first."""
        weights = np.exp(-self._decay * np.arange(len(rows)))
        return weights @ rows / weights.sum()


class AdaptiveEnsemble(TemporalEnsemble):
    """Averages only plans that agree with the newest (CogACT, Li et al., arXiv 2411.19650).

    A plan weighs exp(alpha c), c the cosine between its motion and the newest plan's. At the
    published alpha of 0.1 the weights differ by 22 % at most, which is a plain mean; from
    about 3 on a plan that goes another way no longer counts.

    Unlike the released code the cosine is of motion in units of half an axis' range (of
    absolute axes: away from the last action), without grippers, whose 0 and 1 would decide
    it; a gripper does what the newest plan says. Motion shorter than `floor` has no direction:
    two such plans agree (c = 1), one such plan neither agrees nor differs (c = 0).
    """

    def __init__(
        self,
        embodiment: Embodiment,
        *,
        alpha: float,
        window: int,
        floor: float,
        hz: float = 0.0,
    ):
        """`alpha` and `floor` are 0 or more; `window` counts plans."""
        axes = embodiment.action
        self._alpha, self._floor = alpha, floor
        self._delta = np.array([axis.mode == "delta" for axis in axes], bool)
        self._grip = np.array(["grip" in axis.name for axis in axes], bool)
        share = embodiment.hz / hz if hz else 1.0  # a faster stream has smaller steps
        self._half = half_ranges(embodiment) * np.where(self._delta, share, 1.0)
        super().__init__(embodiment, decay=0.0, window=window, hz=hz)

    def reset(self) -> None:
        """Forget every plan."""
        super().reset()
        self._last: Float32 | None = None

    def _mix(self, newest: Float32, time: float) -> Float32:
        self._last = super()._mix(newest, time)
        return self._last

    def _average(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        origin = np.zeros(rows.shape[1]) if self._last is None else self._last
        motion = ((rows - np.where(self._delta, 0.0, origin)) / self._half)[:, ~self._grip]
        size = np.linalg.norm(motion, axis=1)
        cosine = motion @ motion[-1] / np.maximum(size * size[-1], 1e-12)
        short = size < self._floor
        cosine[short | short[-1]] = 0.0
        cosine[short & short[-1]] = 1.0
        cosine[-1] = 1.0
        weights = np.exp(self._alpha * (np.clip(cosine, -1.0, 1.0) - 1.0))
        mixed = weights @ rows / weights.sum()
        return np.where(self._grip, rows[-1], mixed)


def half_ranges(embodiment: Embodiment) -> NDArray[np.float64]:
    """Half of what each action axis (A,) can do, in its unit; 1 where it has no bound."""
    half = np.array([(axis.high - axis.low) / 2 for axis in embodiment.action])
    return np.where(np.isfinite(half), half, 1.0)
