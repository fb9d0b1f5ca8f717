"""The arms of the fault matrix: drivers made from the words of `vla run`, with fault switches.

Without words: LeRobot's genuine SO-101 driver on an emulated Feetech bus. With them any arm,
a real one too: what goes wrong is then made up above the driver, where hands would be needed.
"""

import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.launch import build_job, compose, open_table, register_schemas
from robot_drivers.config import RobotConfig
from robot_drivers.emulators.servo_process import ServoEmulator
from vla.errors import RobotError


class NeedsHands(Exception):
    """A fault that only a person at the arm can make."""


def read_words(words: Sequence[str]) -> RobotConfig:
    """The robot that `vla run` would drive with these words."""
    register_schemas()
    wanted = ["checkpoint=none", *words]
    return build_job(compose("run", [open_table(word) for word in wanted])).robot


class WiredArm:
    """Any arm; implements `device.Device`. Notes what it was told; faults are made up here.

    Attributes:
        config: the robot's.
        times, commands: of every write, or of the last `noted` ones.
    """

    noted: int | None = None

    def __init__(self, words: Sequence[str]):
        """Make the driver; opens nothing."""
        self.words, self.config = list(words), read_words(words)
        self.renew()

    def renew(self) -> None:
        """A new driver, as a new flight has it; faults end."""
        self._driver = self.config.build(None)
        self.embodiment = self._driver.embodiment
        self.times, self.commands = deque(maxlen=self.noted), deque(maxlen=self.noted)
        self._silent, self._pinned = 0.0, None

    def connect(self) -> None:
        """The driver's."""
        self._driver.connect()

    def read(self) -> tuple[Any, float]:
        """The driver's."""
        self._answer()
        state, when = self._driver.read()
        if self._pinned is not None:
            state = np.where(self._pinned, self._place, state).astype(np.float32)
        self._place = state
        return state, when

    def write(self, action: Any) -> Any:
        """The driver's; noted first."""
        self.times.append(time.monotonic())
        self.commands.append(np.array(action, np.float64))
        self._answer()
        return self._driver.write(action)

    def halt(self) -> None:
        """The driver's."""
        self._driver.halt()

    def latest(self) -> dict:
        """No pictures: the cameras of the matrix are made up."""
        return {}

    def close(self) -> None:
        """The driver's; torque stays on."""
        self._driver.close()

    @property
    def torque(self) -> bool:
        """Whether every motor pushes, as far as anybody can tell."""
        return True

    def look(self) -> np.ndarray:
        """Where the joints are (S,), by a driver of its own that moves nothing."""
        driver = self.config.build(None)
        driver.connect()
        try:
            return driver.read()[0]
        finally:
            driver.close()

    def stand_at(self, place: float) -> None:
        """Every joint at `place`, rad, as far as it goes."""
        raise NeedsHands("move the arm out of its limits by hand and try `vla run`")

    def fail_bus(self, kind: str, seconds: float) -> None:
        """Exchanges fail for so long; `kind` is "silent", "corrupt", "drop" or "unplugged"."""
        self._silent = time.monotonic() + seconds

    def overload(self) -> None:
        """A motor stops by itself."""
        raise NeedsHands("block a servo until it reports overload")

    def uncalibrate(self) -> None:
        """Motors as delivered."""
        raise NeedsHands("connect an arm that was never calibrated")

    def pin(self) -> None:
        """Two joints do not follow, or at least say so."""
        self._pinned = np.arange(len(self.embodiment.state)) % 2 == 0

    def end(self) -> None:
        """Nothing is left open."""
        self.close()

    def _answer(self) -> None:
        if time.monotonic() < self._silent:
            raise RobotError("The bus gave no answer.")


class EmulatedArm(WiredArm):
    """LeRobot's SO-101 on an emulated bus in a process of its own, where the faults are real."""

    def __init__(self, words: Sequence[str], *, port: str = ""):
        """Start the emulator, or use the one that another process has at `port`."""
        self.emulator: ServoEmulator | None = None
        if not port:
            self.emulator = ServoEmulator("feetech", Path(tempfile.mkdtemp(prefix="so101-")))
            port = self.emulator.port
        self.port, self._timer = port, None
        super().__init__(
            [
                "robot=so101",
                f"robot.port={port}",
                "robot.id=emulated",
                f"robot.calibration_dir={Path(port).parent}",
                "robot.confirm=none",
                *words,
            ]
        )

    def renew(self) -> None:
        """The arm at rest in the middle, switched off and on."""
        if self.emulator is not None:
            self._settle()
            self.emulator.plug()
            self.emulator.fail()
            self.emulator.calibrate()
            self.emulator.power_cycle()
            self.stand_at(0.0)
        super().renew()

    @property
    def torque(self) -> bool:
        """Whether every servo pushes."""
        return all(self.emulator.torque())

    def look(self) -> np.ndarray:
        """Where the joints really are (6,), rad."""
        return self.emulator.positions()

    def stand_at(self, place: float) -> None:
        """See `WiredArm.stand_at`."""
        self.emulator.place(np.full(6, place))

    def fail_bus(self, kind: str, seconds: float) -> None:
        """See `WiredArm.fail_bus`: on the wire, or the adapter is pulled out."""
        if kind == "unplugged":
            self.emulator.unplug()
            self._timer = threading.Timer(seconds, self.emulator.plug)
        else:
            self.emulator.fail(**{"silent": {"mute": True}, "corrupt": {"corrupt": 1.0},
                                  "drop": {"drop": 1.0}}[kind])  # fmt: skip
            self._timer = threading.Timer(seconds, self.emulator.fail)
        self._timer.start()

    def overload(self) -> None:
        """A servo reports overload and lets go."""
        self.emulator.fail(overload=[2])

    def uncalibrate(self) -> None:
        """See `WiredArm.uncalibrate`."""
        self.emulator.uncalibrate()

    def pin(self) -> None:
        """Something blocks two joints."""
        self.emulator.fail(pinned=["shoulder_pan", "elbow_flex"])

    def end(self) -> None:
        """Take the arm away."""
        self.close()
        if self.emulator is not None:
            self._settle()
            self.emulator.close()

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.join()
