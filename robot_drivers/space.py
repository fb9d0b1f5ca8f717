"""Where points of an arm may be: one box to stay in, boxes to keep out of."""

import numpy as np
from numpy.typing import NDArray

from robot_drivers.config import GateConfig

Float64 = NDArray[np.float64]

SLACK = 1e-6
"""Absolute slack on positions, metres."""


class Space:
    """Metres, base frame. Points that are outside already may come back, not go further."""

    def __init__(self, config: GateConfig):
        """Read `workspace_low`, `workspace_high` and `keep_out`."""
        self._low = np.array(config.workspace_low or [-np.inf] * 3)
        self._high = np.array(config.workspace_high or [np.inf] * 3)
        boxes = np.array(config.keep_out, np.float64).reshape(-1, 2, 3)
        self._inner_low, self._inner_high = boxes[:, 0], boxes[:, 1]
        self.limited = bool(config.workspace_low) or bool(config.keep_out)

    @property
    def box(self) -> tuple[Float64, Float64]:
        """Low and high corner of the box to stay in; infinite where there is none."""
        return self._low, self._high

    def trespass(self, points: Float64, *, reach: float = 0.0) -> Float64:
        """How deep each of `points` (P, 3) lies where it must not be, metres; 0: it may be there.

        Args:
            points: of the arm.
            reach: distance that a point may still go in an unknown direction.

        Returns:
            float64 (P, 3 + N): beyond the box per axis, then inside each keep-out box.
        """
        outside = outside_of(points, self._low + reach, self._high - reach)
        low, high = self._inner_low - reach, self._inner_high + reach
        depth = np.minimum(points[:, None] - low, high - points[:, None])
        return np.concatenate([outside, np.maximum(depth.min(axis=2), 0.0)], axis=1)

    def worse(self, here: Float64, there: Float64) -> bool:
        """Whether going from `here` to `there` (P, 3 each) leads into or deeper into trespass."""
        return bool((self.trespass(there) > self.trespass(here) + SLACK).any())


def outside_of(value: Float64, low: Float64, high: Float64) -> Float64:
    """How far `value` lies outside the interval, per axis; 0 inside."""
    return np.maximum(np.maximum(low - value, value - high), 0.0)
