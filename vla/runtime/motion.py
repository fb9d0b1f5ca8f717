"""Bounded motion: a stream of small steps towards a moving target, axis by axis.

Every step keeps to the speed and the acceleration of its axis, so that each command lies at
most `speed * dt` from the one before. Whoever stops sending leaves the arm within one step of
where it was; a far goal would be run to its end at whatever speed the servo has.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vla.embodiment import Embodiment
from vla.types import Float32

Float64 = NDArray[np.float64]


RESOLUTION = 5e-7
"""Steps below this, in units of an axis, are rounding of float32 commands."""


@dataclass(frozen=True, kw_only=True)
class MotionLimits:
    """Per action axis: speed in units per second, acceleration in units per second squared.

    Infinite where an axis has no limit. For a delta axis the same, of the motion it asks for.
    `margin`: distance to keep from both bounds of an axis, in its units.
    """

    speed: Float64
    acceleration: Float64
    margin: float | Float64 = 0.0

    @classmethod
    def none(cls, axes: int) -> Self:
        """No limits at all: for simulated worlds."""
        return cls(speed=np.full(axes, np.inf), acceleration=np.full(axes, np.inf))


class Mover:
    """Follows targets within the limits, and brakes to rest; remembers position and speed.

    The position of a delta axis is always 0: its command is a step, not a place.
    """

    def __init__(self, embodiment: Embodiment, limits: MotionLimits):
        """`embodiment.hz` is the rate of the steps."""
        axes = embodiment.action
        self._delta = np.array([axis.mode == "delta" for axis in axes], bool)
        self._low = np.array([axis.low for axis in axes]) + limits.margin
        self._high = np.array([axis.high for axis in axes]) - limits.margin
        self._dt = 1.0 / embodiment.hz
        self._limits = limits
        self.start(np.zeros(len(axes), np.float32))

    def start(self, position: Float32, velocity: Float64 | None = None) -> None:
        """At `position` (A,), where entries of delta axes are ignored; None: at rest."""
        self._last = np.where(self._delta, 0.0, position.astype(np.float64))
        self._velocity = np.zeros_like(self._last) if velocity is None else velocity.copy()
        self._aim: Float64 | None = None
        self._aim_velocity = np.zeros_like(self._last)

    @property
    def at_rest(self) -> bool:
        """Whether the last step was none, as far as a float32 command can tell."""
        return bool((np.abs(self._velocity) < RESOLUTION / self._dt).all())

    def distance(self, target: Float32) -> Float64:
        """How far each absolute axis is from `target`, in units; 0 for delta axes."""
        return np.where(self._delta, 0.0, np.abs(target - self._last))

    def follow(self, target: Float32) -> Float32:
        """The next command on the way to `target` (A,), which is clipped to the axes' bounds."""
        dt, most = self._dt, self._limits.acceleration * self._dt
        aim = np.clip(target.astype(np.float64), self._low, self._high)
        if self._aim is None:
            self._aim = self._last
        moving = np.where(self._delta, aim, aim - self._aim) / dt
        change = np.clip(moving - self._aim_velocity, -most, most)
        self._aim_velocity = np.clip(
            self._aim_velocity + change, -self._limits.speed, self._limits.speed
        )
        self._aim = aim
        behind = aim - self._last - self._aim_velocity * dt
        catch_up = np.sign(behind) * np.minimum(np.abs(behind) / dt, self._stopping(behind))
        wanted = np.where(self._delta, moving, self._aim_velocity + catch_up)
        return self._step(wanted)

    def brake(self) -> Float32:
        """The next command when slowing down to rest."""
        self._aim = None
        self._aim_velocity = np.zeros_like(self._aim_velocity)
        return self._step(np.zeros_like(self._velocity))

    def sent(self, command: Float32) -> None:
        """Go on from `command`, which was sent instead of the last one from here."""
        place = command.astype(np.float64)
        before = np.where(self._delta, 0.0, self._last - self._velocity * self._dt)
        self._velocity = (place - before) / self._dt
        self._last = np.where(self._delta, 0.0, place)
        self._aim = None

    def _stopping(self, distance: Float64) -> Float64:
        """Highest speed from which `distance` is enough to stop, in whole steps."""
        steps = self._limits.acceleration * self._dt
        with np.errstate(invalid="ignore", divide="ignore"):
            root = np.sqrt(0.25 + 2 * np.abs(distance) / (steps * self._dt)) - 0.5
        return np.where(np.isfinite(steps), np.nan_to_num(steps) * root, np.inf)

    def _step(self, wanted: Float64) -> Float32:
        """One step at `wanted` units per second, as far as limits and bounds allow."""
        most = self._limits.acceleration * self._dt
        velocity = np.clip(wanted, -self._limits.speed, self._limits.speed)
        velocity = self._velocity + np.clip(velocity - self._velocity, -most, most)
        low, high = np.minimum(self._low, self._last), np.maximum(self._high, self._last)
        place = np.clip(self._last + velocity * self._dt, low, high)
        command = place.astype(np.float32)
        self._velocity = (command - self._last) / self._dt
        self._last = np.where(self._delta, 0.0, command.astype(np.float64))
        return command
