"""An xArm 6 controller on the network: the genuine XArmAPI connects, servos and reads reports.

The SDK's command port, 502, is privileged on many systems; where it cannot be opened, the
emulator uses the Unix socket that the SDK prefers to it (one emulator per machine then).

    python -m robot_drivers.emulators.xarm --host 127.0.0.1
"""

import asyncio
import struct
import time
from pathlib import Path

from robot_drivers.emulators.arm_plant import ArmFaults, ArmPlant
from robot_drivers.emulators.xarm_controller import XArmController

COMMANDS, REPORTS = 502, (30001, 30002, 30003)
UNIX_SOCKET = Path("/tmp/xarmcontroller_uds_502")
REPORT_PERIOD = 0.01
COLLISION = 31


class XArmEmulator:
    """Implements `arm_process.Emulator`."""

    def __init__(self) -> None:
        self.controller = XArmController()
        self.plant: ArmPlant = self.controller.plant
        self._servers: list[asyncio.AbstractServer] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._readers: set[asyncio.StreamWriter] = set()
        self._awake = asyncio.Event()
        self._awake.set()
        self._due = 0.0
        self._unix = False

    async def start(self, host: str) -> None:
        """Open the command port and the report ports."""
        try:
            self._servers.append(await asyncio.start_server(self._commands, host, COMMANDS))
        except PermissionError:
            self._servers.append(await asyncio.start_unix_server(self._commands, UNIX_SOCKET))
            self._unix = True
        for port in REPORTS:
            self._servers.append(await asyncio.start_server(self._report, host, port))

    def apply(self, faults: ArmFaults) -> None:
        """Switch faults; a protective stop is a collision here."""
        self.plant.faults = faults
        if code := faults.error or (COLLISION if faults.protective_stop else 0):
            self.controller.fail(code)
        if faults.freeze:
            self._awake.clear()
        else:
            self._awake.set()

    def recover(self) -> None:
        """As an operator at the web interface does."""
        self.controller.answer(16, b"")
        self.plant.received["released"] = False

    def tick(self, seconds: float) -> None:
        """Advance, and report at 100 Hz."""
        self.controller.tick(seconds)
        faults, now = self.plant.faults, time.monotonic()
        if faults.freeze or faults.mute or now < self._due:
            return
        self._due = max(self._due + REPORT_PERIOD, now)
        record = self.controller.report()
        for writer in self._readers:
            if not writer.is_closing():
                writer.write(record)

    def stop(self) -> None:
        """The cable is out."""
        for server in self._servers:
            server.close()
        for writer in self._writers | self._readers:
            writer.transport.abort()
        self._awake.set()  # those who waited in a frozen controller find their peer gone
        self._servers.clear()
        if self._unix:
            UNIX_SOCKET.unlink(missing_ok=True)

    async def _commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                number, protocol, size = struct.unpack(">HHH", await reader.readexactly(6))
                body = await reader.readexactly(size) if size else b"\0"
                await self._awake.wait()
                if body[0] == 0:  # heartbeat
                    continue
                reply = self.controller.answer(body[0], body[1:])
                head = struct.pack(">HHHB", number, protocol, len(reply) + 1, body[0])
                writer.write(head + reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the peer hung up, which is how this protocol ends
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _report(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers.add(writer)
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self._readers.discard(writer)
            writer.close()


if __name__ == "__main__":
    from robot_drivers.emulators.arm_process import main

    main("xarm")
