"""A UR controller on the network: RTDE, dashboard, script ports and a Robotiq gripper.

The genuine ur_rtde wheel connects, uploads its script and servos; so does UR's own RTDE
client. Ports as on the real controller: 30004, 29999, 30001 to 30003, 63352.

    python -m robot_drivers.emulators.rtde --host 127.0.0.1
"""

import asyncio
import contextlib
import struct
import time

from robot_drivers.emulators.arm_plant import ArmFaults, ArmPlant
from robot_drivers.emulators.rtde_recipe import Recipe
from robot_drivers.emulators.ur_controller import UrController

RTDE, DASHBOARD, SCRIPTS, ROBOTIQ = 30004, 29999, (30001, 30002, 30003), 63352
VERSION = (5, 14, 0, 1)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class RtdeSession:
    """One RTDE connection: its recipes, and whether data flows."""

    def __init__(self, writer: asyncio.StreamWriter, controller: UrController):
        self._writer, self._controller = writer, controller
        self._inputs: list[Recipe] = []
        self._output: Recipe | None = None
        self._flowing, self._period, self._due = False, 0.008, 0.0

    def answer(self, kind: bytes, payload: bytes) -> None:
        """One packet of the client."""
        if kind == b"V":
            self._send(b"V", b"\x01")
        elif kind == b"v":
            self._send(b"v", struct.pack(">4I", *VERSION))
        elif kind == b"O":
            (frequency,) = struct.unpack(">d", payload[:8])
            self._output = Recipe.parse(payload[8:].decode())
            self._period = 1.0 / max(1.0, frequency)
            self._send(b"O", b"\x01" + self._output.types.encode())
        elif kind == b"I":
            self._inputs.append(Recipe.parse(payload.decode()))
            number = bytes([len(self._inputs)])
            self._send(b"I", number + self._inputs[-1].types.encode())
        elif kind in (b"S", b"P"):
            self._flowing, self._due = kind == b"S", 0.0
            self._send(kind, b"\x01")
        elif kind == b"U" and 0 < payload[0] <= len(self._inputs):
            self._controller.receive(self._inputs[payload[0] - 1].unpack(payload[1:]))

    def stream(self, now: float, values: dict) -> None:
        """Send the outputs when they are due."""
        if self._flowing and self._output is not None and now >= self._due:
            self._due = max(self._due + self._period, now)
            self._send(b"U", b"\x01" + self._output.pack(values))

    def _send(self, kind: bytes, payload: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(struct.pack(">H", len(payload) + 3) + kind + payload)


class UrEmulator:
    """Implements `arm_process.Emulator`."""

    def __init__(self) -> None:
        self.controller = UrController()
        self.plant: ArmPlant = self.controller.plant
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._sessions: dict[asyncio.StreamWriter, RtdeSession] = {}
        self._awake = asyncio.Event()
        self._awake.set()
        self._grip_speed = 255

    async def start(self, host: str) -> None:
        """Open the ports of the controller."""
        handlers = {RTDE: self._rtde, DASHBOARD: self._dashboard, ROBOTIQ: self._robotiq}
        handlers |= dict.fromkeys(SCRIPTS, self._script)
        for port, handler in handlers.items():
            self._servers.append(await asyncio.start_server(self._guard(handler), host, port))

    def apply(self, faults: ArmFaults) -> None:
        """Switch faults."""
        self.plant.faults = faults
        if faults.protective_stop:
            self.controller.protective_stop()
        if faults.freeze:
            self._awake.clear()
        else:
            self._awake.set()

    def recover(self) -> None:
        """As an operator at the pendant does."""
        self.controller.unlock()
        self.plant.received["released"] = False

    def tick(self, seconds: float) -> None:
        """Advance, and stream to whom it is due."""
        self.controller.tick(seconds)
        self.plant.received |= {
            "program": self.controller.program,
            "stopped": self.controller.stopped,
        }
        if self.plant.faults.freeze or self.plant.faults.mute or not self._sessions:
            return
        now, values = time.monotonic(), self.controller.outputs()
        for session in list(self._sessions.values()):
            session.stream(now, values)

    def stop(self) -> None:
        """The cable is out."""
        for server in self._servers:
            server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._awake.set()  # those who waited in a frozen controller find their peer gone
        self._servers.clear()
        self._sessions.clear()

    def _guard(self, handler):
        """`handler` until its peer goes."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                await handler(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the peer hung up, which is how these protocols end
            finally:
                self._sessions.pop(writer, None)
                self._writers.discard(writer)
                writer.close()

        return serve

    async def _rtde(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self._sessions[writer] = RtdeSession(writer, self.controller)
        while True:
            size, kind = struct.unpack(">Hc", await reader.readexactly(3))
            payload = await reader.readexactly(size - 3)
            await self._awake.wait()
            session.answer(kind, payload)

    async def _script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b""
        while data := await reader.read(65536):
            text += data
            if text.rstrip().endswith(b"end"):
                await self._awake.wait()
                self.controller.upload()
                text = b""

    async def _dashboard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Connected: Universal Robots Dashboard Server\n")
        while line := await reader.readline():
            await self._awake.wait()
            writer.write(self._obey_dashboard(line.decode().strip()).encode() + b"\n")

    def _obey_dashboard(self, line: str) -> str:
        controller = self.controller
        status = "PROTECTIVE_STOP" if controller.stopped else "NORMAL"
        running = str(controller.program).lower()
        if line == "unlock protective stop":
            controller.unlock()
            return "Protective stop releasing"
        if line in ("stop", "power off"):
            controller.stop_program()
            self.plant.received["released"] = line == "power off"
            return "Stopped" if line == "stop" else "Powering off"
        return {
            "PolyscopeVersion": "URSoftware 5.14.0.1 (emulated)",
            "get robot model": "UR5",
            "get serial number": "20990000000",
            "robotmode": "Robotmode: RUNNING",
            "safetystatus": f"Safetystatus: {status}",
            "safetymode": f"Safetymode: {status}",
            "programState": "PLAYING" if controller.program else "STOPPED",
            "running": f"Program running: {running}",
            "is in remote control": "true",
            "close safety popup": "closing safety popup",
        }.get(line, f"could not understand: {line}")

    async def _robotiq(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The URCap's text protocol: SET/GET of ACT, GTO, SPE, FOR, POS, STA, OBJ, FLT."""
        while line := await reader.readline():
            await self._awake.wait()
            words = line.decode().split()
            if words[:1] == ["SET"]:
                pairs = dict(zip(words[1::2], words[2::2], strict=False))
                if "POS" in pairs:
                    self.plant.grip_target = 1.0 - int(pairs["POS"]) / 255
                writer.write(b"ack\n")
            elif words[:1] == ["GET"]:
                position = round((1.0 - self.plant.grip) * 255)
                values = {"POS": position, "STA": 3, "ACT": 1, "GTO": 1, "OBJ": 3, "FLT": 0}
                writer.write(f"{words[1]} {values.get(words[1], 0)}\n".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()


if __name__ == "__main__":
    from robot_drivers.emulators.arm_process import main

    main("ur")
