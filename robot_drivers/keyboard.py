"""The keyboard of a terminal as a `Hand`."""

import os
import sys
import termios
import time
import tty
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robot_drivers.config_teleop import KeyboardConfig
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, RobotError

AHEAD = 0.2
"""Seconds by which the goal of a joint runs ahead while its key is held."""


class Keyboard:
    """Reads keys as they come, without Enter; the terminal is restored by `close`."""

    def __init__(
        self,
        config: KeyboardConfig,
        embodiment: Embodiment,
        *,
        descriptor: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Give each axis its keys; `descriptor`: of the terminal, None for standard input.

        Raises:
            ConfigError: for fewer keys than axes, or a key given twice.
        """
        axes = embodiment.action
        if min(len(config.up), len(config.down)) < len(axes):
            raise ConfigError(f"{len(axes)} axes need as many keys in teleop.up and teleop.down.")
        self._keys = {
            **{key: (i, 1.0) for i, key in enumerate(config.up[: len(axes)])},
            **{key: (i, -1.0) for i, key in enumerate(config.down[: len(axes)])},
        }
        if len(self._keys) < 2 * len(axes):
            raise ConfigError("A key stands twice in teleop.up and teleop.down.")
        self._delta = np.array([axis.mode == "delta" for axis in axes])
        speeds = [_speed(axis, config) for axis in axes]
        self._step = np.where(self._delta, np.array(speeds) / embodiment.hz, speeds)
        self._descriptor, self._clock, self._hold = descriptor, clock, config.hold
        self._pressed: dict[int, tuple[float, float]] = {}
        self._before: list | None = None
        self.guide = "  ".join(
            f"{config.up[i]}/{config.down[i]} {axis.name}" for i, axis in enumerate(axes)
        )

    def connect(self) -> None:
        """Take the terminal over. Raises RobotError when there is none."""
        self._descriptor = sys.stdin.fileno() if self._descriptor is None else self._descriptor
        try:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        except termios.error as error:
            raise RobotError("teleop=keyboard needs a terminal as standard input.") from error
        os.set_blocking(self._descriptor, False)

    def goal(self, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """Steps for the keys held now; joints without a key stay."""
        now = self._clock()
        for key in self._read():
            if key in self._keys:
                axis, sign = self._keys[key]
                self._pressed[axis] = (sign, now + self._hold)
        push = np.zeros(len(self._delta))
        for axis, (sign, until) in self._pressed.items():
            push[axis] = sign if now < until else 0.0
        return np.where(self._delta, push * self._step, command + push * self._step * AHEAD)

    def close(self) -> None:
        """Give the terminal back; idempotent."""
        if self._before is not None:
            os.set_blocking(self._descriptor, True)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._before = None

    def _read(self) -> str:
        try:
            return os.read(self._descriptor, 256).decode(errors="ignore")
        except BlockingIOError:
            return ""
        except OSError as error:
            raise RobotError(f"The terminal is gone: {error.strerror}.") from error


def _speed(axis: Axis, config: KeyboardConfig) -> float:
    if axis.mode != "delta":
        return config.joint
    return config.linear if axis.unit == "m" else config.angular
