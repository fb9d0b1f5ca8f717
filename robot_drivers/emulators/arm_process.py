"""An emulated arm controller in a process of its own: for tests, and as a command.

    with ArmEmulator("ur") as arm:          # arm.host: where the vendor's SDK finds it
        arm.fail(freeze=True)               # see `ArmFaults`; arm.fail() ends all faults
        arm.unplug(); arm.plug()            # the network cable
        arm.status()                        # where the joints really are, what was received

Every emulator has an address of its own in 127.0.0.0/8, because the SDKs cannot be told
another port; so several run side by side.
"""

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

from robot_drivers.emulators.arm_plant import ArmFaults, ArmPlant
from vla.errors import RobotError, choose
from vla.runtime.child import end_child
from vla.runtime.priority import take_priority

TIMEOUT = 20.0
TICK = 0.004
PRIORITY = 20


@runtime_checkable
class Emulator(Protocol):
    """A controller's servers around a plant."""

    plant: ArmPlant

    async def start(self, host: str) -> None:
        """Open the ports."""
        ...

    def tick(self, seconds: float) -> None:
        """Let time pass, and send what is due."""
        ...

    def apply(self, faults: ArmFaults) -> None:
        """Switch faults."""
        ...

    def recover(self) -> None:
        """Clear stops and errors."""
        ...

    def stop(self) -> None:
        """Close every port and connection."""
        ...


def build_emulator(kind: str) -> Emulator:
    """The emulated controller of `kind`, "ur" or "xarm"."""
    from robot_drivers.emulators.rtde import UrEmulator
    from robot_drivers.emulators.xarm import XArmEmulator

    builders: dict[str, Callable[[], Emulator]] = {"ur": UrEmulator, "xarm": XArmEmulator}
    return choose("emulated arm", kind, builders)()


async def run(kind: str, host: str, pipe: Connection | None) -> None:
    """Serve until the parent closes its end of the pipe, or for ever."""
    emulator, loop = build_emulator(kind), asyncio.get_running_loop()
    await emulator.start(host)
    over, unplugged = asyncio.Event(), asyncio.Event()

    async def obey(order: str, value: Any) -> None:
        if order == "fail":
            emulator.apply(ArmFaults(**value))
        elif order == "unplug":
            emulator.stop()
            unplugged.set()
        elif order == "plug" and unplugged.is_set():
            await emulator.start(host)
            unplugged.clear()
        elif order == "recover":
            emulator.recover()
        pipe.send(emulator.plant.status())

    def listen() -> None:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            over.set()
            return
        orders.put_nowait(order)

    orders: asyncio.Queue = asyncio.Queue()
    if pipe is not None:
        loop.add_reader(pipe.fileno(), listen)
        pipe.send("ready")
    last = loop.time()
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await obey(*await asyncio.wait_for(orders.get(), TICK))
        now = loop.time()
        emulator.tick(now - last)
        last = now
    emulator.stop()
    await asyncio.sleep(2 * TICK)  # for the connections to end by themselves


def serve(kind: str, host: str, pipe: Connection | None) -> None:
    """Body of the process."""
    if pipe is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    take_priority(PRIORITY)  # real hardware does not wait for the host's CPU either
    asyncio.run(run(kind, host, pipe))


class ArmEmulator:
    """The process, from outside. Close it, or use it as a context manager."""

    def __init__(self, kind: str, *, host: str = ""):
        """Start and wait until the ports are open.

        Args:
            kind: "ur" or "xarm".
            host: loopback address to listen on; "" picks one.

        Raises:
            RobotError: when it does not start, e.g. because the ports are taken.
        """
        self.host = host or f"127.{random.randint(1, 250)}.{os.getpid() % 250}.{_next()}"
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(kind, self.host, theirs), name=f"emulated-{kind}", daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except RobotError:
            self.close()
            raise

    def fail(self, **faults: Any) -> dict[str, Any]:
        """Switch to exactly these faults (see `ArmFaults`); the status after it."""
        return self._ask("fail", asdict(ArmFaults(**faults)))

    def unplug(self) -> dict[str, Any]:
        """Close every connection, and take no new ones."""
        return self._ask("unplug")

    def plug(self) -> dict[str, Any]:
        """Take connections again."""
        return self._ask("plug")

    def recover(self) -> dict[str, Any]:
        """What an operator does at the pendant: clear stops and errors, motors on."""
        return self._ask("recover")

    def status(self) -> dict[str, Any]:
        """See `ArmPlant.status`, with what the controller adds."""
        return self._ask("status")

    def close(self) -> None:
        """End the process; idempotent."""
        end_child(self._pipe, self._process, patience=3.0)

    def __enter__(self) -> "ArmEmulator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, order: str, value: Any = None) -> dict[str, Any]:
        self._pipe.send((order, value))
        return self._receive()

    def _receive(self) -> Any:
        try:
            if self._pipe.poll(TIMEOUT):
                return self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(2.0)
        raise RobotError(
            f"The emulated controller at {self.host} does not answer (exit code "
            f"{self._process.exitcode}); its own message is on the standard error output."
        )


def _next() -> int:
    """Host part of the next address; 1 to 250."""
    global _count
    _count = _count % 250 + 1
    return _count


_count = 0


def main(kind: str) -> None:
    """Run one in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(description=f"An emulated {kind} controller.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    host = parser.parse_args().host
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger(__name__).info(
        "Emulated %s at %s; next: vla run robot=%s robot.host=%s ...", kind, host, kind, host
    )
    with contextlib.suppress(KeyboardInterrupt):
        serve(kind, host, None)
