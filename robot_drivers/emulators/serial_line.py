"""A serial port that ends in emulated servos: a pseudo-terminal with the timing of a UART.

The port has a stable name (a symbolic link, like those in /dev/serial/by-id), so that it can
be unplugged and plugged in again.
"""

import os
import random
import select
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from robot_drivers.emulators.faults import Faults

BITS_PER_BYTE = 10
"""Start bit, eight bits, stop bit."""
SLEEP_SLACK = 60e-6
"""Seconds by which the system's timers are late."""


class Servos(Protocol):
    """The protocol side of a bus: what the servos make of the bytes on it."""

    def receive(self, data: bytes, *, baud: int) -> list[tuple[bytes, float]]:
        """Take bytes in; the status packets they cause, each with its return delay in seconds."""
        ...


def _speeds() -> dict[int, int]:
    """Termios constant to bits per second."""
    return {
        getattr(termios, name): int(name[1:])
        for name in dir(termios)
        if name[0] == "B" and name[1:].isdigit()
    }


class SerialLine:
    """The adapter end of the port; `pump` passes bytes on, both ways."""

    def __init__(self, port: Path, *, seed: int = 0):
        """Plug in at once.

        Args:
            port: the link to make; its folder exists.
            seed: of the random faults.
        """
        self.port = port
        self.faults = Faults()
        self._random = random.Random(seed)
        self._master = self._slave = -1
        self._speeds = _speeds()
        self.plug()

    def plug(self) -> None:
        """Open a new pseudo-terminal and let the link point at it."""
        self.unplug()
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        fresh = self.port.with_name(self.port.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self.port)

    def unplug(self) -> None:
        """Take the adapter away: the host's open port fails; idempotent."""
        self.port.unlink(missing_ok=True)
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def pump(self, servos: Servos, *, wait: float, refresh: Callable[[], None]) -> None:
        """Wait up to `wait` seconds for a request and answer it.

        Args:
            servos: who answers.
            wait: seconds.
            refresh: called before the servos see the request: bring the mechanics up to now.
        """
        if self._master < 0:
            time.sleep(wait)
            return
        ready, _, _ = select.select([self._master], [], [], wait)
        if not ready:
            return
        data = os.read(self._master, 4096)
        baud = self._speeds.get(termios.tcgetattr(self._slave)[5], 0)
        refresh()
        if self.faults.mute:
            return
        due = time.monotonic() + len(data) * BITS_PER_BYTE / max(baud, 1) + self.faults.delay
        for reply, delay in servos.receive(data, baud=baud):
            due += len(reply) * BITS_PER_BYTE / max(baud, 1) + delay
            self._send(reply, due)

    def _send(self, reply: bytes, due: float) -> None:
        ahead = due - time.monotonic()
        if ahead > SLEEP_SLACK:
            time.sleep(ahead - SLEEP_SLACK)
        if self._random.random() < self.faults.drop:
            return
        if self._random.random() < self.faults.corrupt:
            reply = reply[:-1] + bytes([reply[-1] ^ 0x5A])
        try:
            os.write(self._master, reply)
        except BlockingIOError:
            return  # a host that does not read loses bytes, as on a real UART
