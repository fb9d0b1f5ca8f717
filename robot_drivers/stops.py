"""Ways to stop a robot at once: a key, a file, a device, a signal.

All are asked before every command and none ever waits. They are no replacement for a stop
that cuts the power: a program that hangs asks nobody.
"""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from robot_drivers.causes import Cause
from robot_drivers.config import RobotConfig
from vla.errors import RobotError

EVENT = 24
"""Bytes of one Linux input event: time 16, type 2, code 2, value 4 (linux/input.h, 64 bits)."""
KEY_EVENT = b"\x01\x00"


@runtime_checkable
class StopSource(Protocol):
    """Something that can ask for a stop."""

    def pressed(self) -> Cause:
        """NONE, STOP (slow down and hold) or ESTOP (hold at once)."""
        ...

    def close(self) -> None:
        """Put things back as they were; idempotent."""
        ...


class StopFile:
    """An emergency stop for as long as a file exists: another program, or a person, makes it."""

    def __init__(self, path: str):
        """Raises RobotError when it exists already."""
        self._path = path
        if os.path.exists(path):
            raise RobotError(f"The stop file {path} exists. Remove it when motion is safe again.")

    def pressed(self) -> Cause:
        """ESTOP when the file exists."""
        return Cause.ESTOP if os.path.exists(self._path) else Cause.NONE

    def close(self) -> None:
        """The file is left alone."""


class StopKey:
    """The space bar at the terminal; the terminal gives keys one by one until `close`.

    Enter is kept for `resumes`: one reader for all keys.
    """

    def __init__(self) -> None:
        """Takes the terminal over."""
        self._file = sys.stdin.fileno()
        self._before: list | None = termios.tcgetattr(self._file)
        self._entered = False
        tty.setcbreak(self._file)

    def pressed(self) -> Cause:
        """ESTOP when the space bar was hit since the last question; other keys are dropped."""
        hit = False
        while select.select([self._file], [], [], 0)[0]:
            keys = os.read(self._file, 64)
            hit |= b" " in keys
            self._entered |= b"\r" in keys or b"\n" in keys
            if not keys:
                break
        return Cause.ESTOP if hit else Cause.NONE

    def resumes(self) -> bool:
        """Whether Enter was hit since the last question; `pressed` reads the keys."""
        entered, self._entered = self._entered, False
        return entered

    def close(self) -> None:
        """Give the terminal back."""
        if self._before is not None:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
            self._before = None


class StopDevice:
    """A Linux input device (a button box, a keyboard) of which every key is an emergency stop.

    A device that is pulled out stops the arm as well.
    """

    def __init__(self, path: str):
        """Raises RobotError when it cannot be opened."""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise RobotError(
                f"The stop device {path} cannot be opened: {error.strerror}. Is it plugged in, "
                "and may this user read it (group input)?"
            ) from error

    def pressed(self) -> Cause:
        """ESTOP when a key went down since the last question, or the device is gone."""
        if self._file < 0:
            return Cause.ESTOP
        try:
            events = os.read(self._file, 64 * EVENT)
        except BlockingIOError:
            return Cause.NONE
        except OSError:
            return Cause.ESTOP
        starts = range(0, len(events) - EVENT + 1, EVENT)
        hit = any(events[i + 16 : i + 18] == KEY_EVENT and events[i + 20] == 1 for i in starts)
        return Cause.ESTOP if hit or not events else Cause.NONE

    def close(self) -> None:
        """Let go of the device."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class StopSignal:
    """SIGUSR1 is an emergency stop: `kill -USR1 PID` from another terminal or program."""

    def __init__(self) -> None:
        """Takes the signal over; only in the main thread."""
        self._hit = False
        self._before = signal.signal(signal.SIGUSR1, self._note)

    def pressed(self) -> Cause:
        """ESTOP once the signal came."""
        return Cause.ESTOP if self._hit else Cause.NONE

    def close(self) -> None:
        """Give the signal back."""
        if self._before is not None:
            signal.signal(signal.SIGUSR1, self._before)
            self._before = None

    def _note(self, number: int, frame: object) -> None:
        self._hit = True


def open_stops(config: RobotConfig) -> Sequence[StopSource]:
    """Every way to stop that the configuration names; the signal always works.

    Raises:
        RobotError: when one of them cannot be had: a stop that is silently missing is worse.
    """
    sources: list[StopSource] = [StopSignal()]
    if config.stop_file:
        sources.append(StopFile(config.stop_file))
    if config.stop_device:
        sources.append(StopDevice(config.stop_device))
    if config.stop_key and sys.stdin is not None and sys.stdin.isatty():
        sources.append(StopKey())
    return sources
