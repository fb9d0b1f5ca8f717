"""Affine normalisation, kept in the weights so that it cannot be lost or mixed up."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from policies.config import NORMALIZATIONS
from vla.embodiment import Axis
from vla.errors import ConfigError, StatisticsError, choose

if TYPE_CHECKING:
    from vla.data.stats import VectorStatistics

# An axis that spreads over less than this part of its range is taken for constant: dividing
# by it would blow sensor noise up to the size of a signal.
_LEAST_SPREAD = 1e-4


class Normalizer(nn.Module):
    """Maps vectors in SI units to about [-1, 1] and back, axis by axis.

    "quantile" sends q01 and q99 to -1 and 1, "min_max" the extremes, "mean_std" the mean to
    0 and one standard deviation to 1. Axes of unit "1" between 0 and 1 (a gripper, a flag)
    and those named in `bounded` are mapped by their bounds instead. Nothing is clipped:
    what lies beyond q99 comes out beyond 1, and `inverse` undoes it.

    The buffers `center`, `scale` and `filled` travel with the weights; until they are
    filled, from statistics or from a checkpoint, the normalizer refuses to run.
    """

    def __init__(self, axes: tuple[Axis, ...], *, what: str, mode: str, bounded: list[str]):
        super().__init__()
        choose("normalization", mode, dict.fromkeys(NORMALIZATIONS))
        self.axes, self.what, self.mode = axes, what, mode
        self.bounded = [a.name for a in axes if a.name in bounded or _is_fraction(a)]
        for axis in axes:
            if axis.name in self.bounded and not np.isfinite([axis.low, axis.high]).all():
                raise ConfigError(f"Axis {axis.name!r} has no finite bounds to be scaled by.")
        self.register_buffer("center", torch.zeros(len(axes)))
        self.register_buffer("scale", torch.ones(len(axes)))
        self.register_buffer("filled", torch.tensor(False))
        self._ready = False  # seen filled: asking the buffer each time would wait for a GPU

    def fill(self, statistics: "VectorStatistics") -> None:
        """Take centre and scale from `statistics`.

        Raises:
            StatisticsError: foreign axis names, values that are not finite, or an axis that
                does not spread.
        """
        names = tuple(axis.name for axis in self.axes)
        if tuple(statistics.names) != names:
            raise StatisticsError(
                f"The {self.what} statistics are of the axes {list(statistics.names)}; the "
                f"embodiment has {list(names)}. Compute them from data of this embodiment."
            )
        center, scale = self._affine(statistics)
        for index, axis in enumerate(self.axes):
            if axis.name in self.bounded:
                center[index] = (axis.low + axis.high) / 2
                scale[index] = (axis.high - axis.low) / 2
                continue
            extent = axis.high - axis.low
            least = _LEAST_SPREAD * extent if np.isfinite(extent) else np.finfo(np.float32).tiny
            if not (np.isfinite(center[index]) and np.isfinite(scale[index])):
                raise StatisticsError(
                    f"The statistics of {self.what} {axis.name!r} are not finite."
                )
            if not 2 * scale[index] > least:
                raise StatisticsError(
                    f"The {self.what} axis {axis.name!r} does not spread in the data (by "
                    f"{self.mode}: {2 * scale[index]:.3g} {axis.unit}). Add it to bounded_axes "
                    "to scale it by its bounds, or use data that move it."
                )
        self.center.copy_(torch.from_numpy(center))
        self.scale.copy_(torch.from_numpy(scale))
        self.filled.fill_(True)

    def pass_through(self) -> None:
        """Leave values as they are, because they are normalised already."""
        self.center.zero_()
        self.scale.fill_(1.0)
        self.filled.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise float (..., D)."""
        self._require_filled()
        return (x - self.center) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Back to SI units, float (..., D)."""
        self._require_filled()
        return x * self.scale + self.center

    def _affine(self, statistics: "VectorStatistics") -> tuple[np.ndarray, np.ndarray]:
        if self.mode == "mean_std":
            return np.array(statistics.mean, np.float64), np.array(statistics.std, np.float64)
        quantile = self.mode == "quantile"
        low = np.asarray(statistics.q01 if quantile else statistics.min, np.float64)
        high = np.asarray(statistics.q99 if quantile else statistics.max, np.float64)
        return (low + high) / 2, (high - low) / 2

    def _require_filled(self) -> None:
        self._ready = self._ready or bool(self.filled)
        if not self._ready:
            raise StatisticsError(
                f"The {self.what} normalizer has no statistics. Build the policy with the "
                "statistics of its training data, or load its weights."
            )


def _is_fraction(axis: Axis) -> bool:
    return axis.unit == "1" and axis.low == 0 and axis.high == 1
