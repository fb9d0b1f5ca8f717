"""A servo bus in a process of its own, for tests and for trying things out.

with ServoEmulator("feetech", folder) as arm:
    ...                               # arm.port, arm.calibration: a port, LeRobot's file
    arm.fail(dead=(3,))               # see `Faults`; arm.fail() ends all faults
    arm.positions()                   # where the joints really are, rad
"""

import argparse
import json
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_drivers.emulators.faults import Faults
from robot_drivers.emulators.serial_line import SerialLine
from robot_drivers.emulators.servo_plant import ServoPlant
from vla.errors import ConfigError, RobotError, choose
from vla.files import write_json
from vla.runtime.child import end_child
from vla.runtime.priority import take_priority

WAIT = 0.002
PRIORITY = 20
START_TIMEOUT, ANSWER_TIMEOUT = 180.0, 30.0
"""Seconds; starting imports MuJoCo, on a busy machine."""


def build_bus(kind: str) -> Any:
    """The bus of `kind`, "feetech" or "dynamixel", with an arm on it."""
    from robot_drivers.emulators.dynamixel import DynamixelBus
    from robot_drivers.emulators.feetech import FeetechBus

    buses = {"feetech": FeetechBus, "dynamixel": DynamixelBus}
    return choose("emulated bus", kind, buses)(ServoPlant())


class Station:
    """The emulator's own loop: the line, the servos, the mechanics, and an operator's orders."""

    def __init__(self, kind: str, port: Path, calibration: Path):
        """Raises ConfigError when `calibration` is another arm's file: it is not replaced."""
        self.bus = build_bus(kind)
        table = self.bus.calibrate()
        if calibration.exists() and json.loads(calibration.read_text()) != table:
            raise ConfigError(f"{calibration} belongs to another arm; give a new file.")
        write_json(calibration, table)
        self._pose = np.memmap(
            port.with_name(port.name + ".pose"), np.float64, mode="w+", shape=(len(table),)
        )
        self.line = SerialLine(port)

    def tick(self) -> None:
        """Answer what comes, and keep the arm moving."""
        self.line.pump(self.bus, wait=WAIT, refresh=self._refresh)
        self._refresh()

    def obey(self, order: str, value: Any) -> Any:
        """One order of the operator; its answer."""
        plant = self.bus.plant
        if order == "fail":
            faults = Faults(**value)
            self.line.faults = self.bus.faults = faults
            for servo in self.bus.servos:
                servo.alarm(servo.id in faults.overload)
            plant.pinned[:] = [name in faults.pinned for name in plant.names]
        elif order == "place":
            plant.place(np.array(value))
        elif order == "uncalibrate":
            type(self.bus).__init__(self.bus, plant)
        elif order == "calibrate":
            self.bus.calibrate()
        elif order in ("plug", "unplug"):
            getattr(self.line, order)()
        elif order == "power_cycle":
            self.bus.power_cycle()
        return {
            "position": plant.position.tolist(),
            "goal": plant.goal.tolist(),
            "torque": plant.torque.tolist(),
            "memory": [bytes(servo.memory) for servo in self.bus.servos],
        }

    def _refresh(self) -> None:
        self.bus.advance(time.monotonic())
        self._pose[:] = self.bus.plant.position


def serve(pipe: Connection, kind: str, port: str, calibration: str) -> None:
    """Target of the process: until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the parent decides
    take_priority(PRIORITY)  # it stands for hardware
    station = Station(kind, Path(port), Path(calibration))
    try:
        pipe.send(None)
        while True:
            station.tick()
            if pipe.poll(0):
                pipe.send(station.obey(*pipe.recv()))
    except EOFError:
        pass  # the parent has gone: so does the hardware
    finally:
        station.line.unplug()


class ServoEmulator:
    """A bus with an arm on it, as a context manager.

    Attributes:
        port: path to give to a driver; it stays the same over unplugging.
        calibration: LeRobot calibration file that fits the arm (<folder>/emulated.json:
            calibration_dir is the folder, id is "emulated").
    """

    def __init__(self, kind: str, folder: Path):
        """Start it; `folder` exists and holds the port and the calibration file."""
        self.port = str(folder / f"{kind}-port")
        self.calibration = folder / "emulated.json"
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve,
            args=(theirs, kind, self.port, str(self.calibration)),
            name=f"{kind}-emulator",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._receive(START_TIMEOUT)

    def __enter__(self) -> "ServoEmulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fail(self, **faults: Any) -> None:
        """Replace all faults by these; see `Faults`."""
        self._order("fail", faults)

    def place(self, pose: NDArray[np.float64]) -> None:
        """Move the arm by hand to `pose` (6,), rad."""
        self._order("place", np.asarray(pose, float).tolist())

    def uncalibrate(self) -> None:
        """Servos as delivered."""
        self._order("uncalibrate")

    def calibrate(self) -> None:
        """Give the servos the limits of the calibration file."""
        self._order("calibrate")

    def unplug(self) -> None:
        """Take the USB adapter away."""
        self._order("unplug")

    def plug(self) -> None:
        """Bring it back."""
        self._order("plug")

    def power_cycle(self) -> None:
        """Switch the arm's power off and on."""
        self._order("power_cycle")

    def positions(self) -> NDArray[np.float64]:
        """Where the joints really are (6,), rad."""
        return np.array(self._order("look")["position"])

    def torque(self) -> list[bool]:
        """Which servos push."""
        return self._order("look")["torque"]

    def memory(self) -> list[bytes]:
        """All registers, by servo."""
        return self._order("look")["memory"]

    def close(self) -> None:
        """End the process; idempotent."""
        end_child(self._pipe, self._process, patience=2.0)

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid or 0)

    def _order(self, order: str, value: Any = None) -> Any:
        self._pipe.send((order, value))
        return self._receive()

    def _receive(self, timeout: float = ANSWER_TIMEOUT) -> Any:
        try:
            if self._pipe.poll(timeout):
                return self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(2.0)
            raise RobotError(f"The emulator died (exit code {self._process.exitcode}).") from error
        raise RobotError(f"The emulator gave no answer in {timeout:.0f} s.")


def run_command(kind: str, description: str | None) -> None:
    """The emulator as a command, until it is interrupted; orders come as JSON from a file."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=Path, required=True, help="link to make, e.g. /tmp/so101")
    parser.add_argument(
        "--calibration", type=Path, required=True, help="LeRobot calibration file to write"
    )
    parser.add_argument(
        "--faults", type=Path, help='JSON of `Faults`, re-read when it changes: {"drop": 0.01}'
    )
    options = parser.parse_args()
    station = Station(kind, options.port, options.calibration)
    read = 0.0
    try:
        while True:
            station.tick()
            if options.faults and options.faults.exists():
                changed = options.faults.stat().st_mtime
                if changed != read:
                    read = changed
                    station.obey("fail", json.loads(options.faults.read_text()))
    except KeyboardInterrupt:
        pass
    finally:
        station.line.unplug()
