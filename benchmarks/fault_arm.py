"""What the fault matrix flies: an arm with switches for its faults, cameras and plans with theirs.

Two arms: "servo", in the process of the loop (see `control_arm`), and "so101", LeRobot's genuine
driver on an emulated Feetech bus in a process of its own.
"""

import random
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.control_arm import ServoArm, Wave
from robot_drivers.config_lerobot import So101Config
from robot_drivers.emulators.servo_process import ServoEmulator
from vla.embodiment import Camera, Embodiment
from vla.errors import RobotError
from vla.types import ActionChunk

PICTURE = 32


class PlainArm(ServoArm):
    """The arm of `control_arm` with the switches of `EmulatedArm`."""

    def stand_at(self, place: float) -> None:
        """Every joint at `place`, rad."""
        self._place[:] = self._goal[:] = place

    def go_silent(self, seconds: float) -> None:
        """No answers for so long."""
        self.silent_until = time.monotonic() + seconds

    def pin(self) -> None:
        """Something blocks every joint."""
        self.pinned = True

    def end(self) -> None:
        """Nothing to end."""


class EmulatedArm:
    """LeRobot's SO-101 on the emulated bus, and a list of what it was told."""

    def __init__(self, hz: float):
        folder = Path(tempfile.mkdtemp(prefix="so101-"))
        self.emulator: ServoEmulator | None = ServoEmulator("feetech", folder)
        self.attach(self.emulator.port, hz)

    def attach(self, port: str, hz: float) -> None:
        """Make the driver of an arm that is emulated at `port`, here or by another process."""
        self.config = So101Config(
            port=port, id="emulated", calibration_dir=str(Path(port).parent), hz=hz,
            confirm="none", io_timeout=0.02,
        )  # fmt: skip
        self._arm = self.config.build()
        self.embodiment, self.times, self.commands = self._arm.embodiment, [], []
        self._timer: threading.Timer | None = None

    def connect(self) -> None:
        """The driver's."""
        self._arm.connect()

    def read(self):
        """The driver's."""
        return self._arm.read()

    def write(self, action):
        """The driver's; noted first."""
        self.times.append(time.monotonic())
        self.commands.append(np.array(action, np.float64))
        return self._arm.write(action)

    def halt(self) -> None:
        """The driver's."""
        self._arm.halt()

    def close(self) -> None:
        """The driver's; torque stays on."""
        self._arm.close()

    @property
    def torque(self) -> bool:
        """Whether every servo pushes."""
        return all(self.emulator.torque())

    def stand_at(self, place: float) -> None:
        """Every joint at `place`, rad, as far as it goes."""
        self.emulator.place(np.full(6, place))

    def go_silent(self, seconds: float) -> None:
        """The bus behind the adapter is unplugged for so long."""
        self.emulator.fail(mute=True)
        self._timer = threading.Timer(seconds, self.emulator.fail)
        self._timer.start()

    def pin(self) -> None:
        """Something blocks two joints."""
        self.emulator.fail(pinned=["shoulder_pan", "elbow_flex"])

    def end(self) -> None:
        """Take the arm away."""
        if self._timer is not None:
            self._timer.join()
        self.emulator.close()


ARMS = {"servo": PlainArm, "so101": EmulatedArm}


def joints_of(body: Embodiment) -> np.ndarray:
    """Indices of the action axes in rad."""
    return np.array([i for i, axis in enumerate(body.action) if axis.unit == "rad"])


def with_camera(body: Embodiment) -> Embodiment:
    """`body` with one small camera."""
    return replace(body, cameras={"front": Camera(height=PICTURE, width=PICTURE)})


@dataclass
class BodyWave(Wave):
    """The wave of `control_arm` on any body; grippers go round the middle of their stroke."""

    body: Embodiment | None = None
    amplitude: float = 0.4
    open_loop: bool = False

    @property
    def embodiment(self) -> Embodiment:
        """Of the arm."""
        return self.body

    def rows(self, begin: float) -> np.ndarray:
        """(ROWS, A)."""
        wave = super().rows(begin)[:, :1] * (self.amplitude / 0.4)
        middle = np.array([0.5 if a.unit == "1" else 0.0 for a in self.body.action])
        scale = np.array([0.2 if a.unit == "1" else 1.0 for a in self.body.action])
        return (middle + scale * wave).astype(np.float32)

    def _from_here(self, observation) -> np.ndarray:
        return self.rows(observation.time) if self.open_loop else super()._from_here(observation)


@dataclass
class WaveOf:
    """Picklable factory of a `BodyWave`, with what a bad network makes of its plans.

    Attributes:
        trouble: "", "jitter" (0 to 0.5 s late at random), "replayed" (the same reply again and
            again after a second), "reordered" (older replies in between), "clock" (the wall
            clock of the planning process jumps about).
    """

    body: Embodiment
    seconds: float = 0.03
    amplitude: float = 0.4
    open_loop: bool = False
    trouble: str = ""

    def __call__(self):
        """See `vla.runtime.planner.PolicyFactory`."""
        wave = BodyWave(self.body.hz, self.seconds, body=self.body, amplitude=self.amplitude,
                        open_loop=self.open_loop)  # fmt: skip
        return (Troubled(wave, self.trouble) if self.trouble else wave), "0" * 64


class Troubled:
    """Plans as a bad network delivers them."""

    history = 1

    def __init__(self, policy, trouble: str):
        self.policy, self.trouble, self.embodiment = policy, trouble, policy.embodiment
        self.random, self.begin, self.kept = random.Random(0), None, None
        if trouble == "clock":
            true = time.time
            time.time = lambda: true() + self.random.uniform(-1e6, 1e6)

    def act(self, observations, *, seeds):
        """See `vla.contract.Policy`."""
        (chunk,) = self.policy.act(observations, seeds=seeds)
        if observations[0].time == 0.0:  # warming up
            return [chunk]
        now = time.monotonic()
        self.begin = self.begin or now
        if now - self.begin < 1.0:
            self.kept = chunk
            return [chunk]
        if self.trouble == "jitter":
            time.sleep(self.random.uniform(0.0, 0.5))
        if self.trouble == "replayed":
            return [self.kept]
        if self.trouble == "reordered" and self.random.random() < 0.5:
            return [ActionChunk(actions=chunk.actions, time=chunk.time - 0.3)]
        return [chunk]


@dataclass
class FaultyCamera:
    """Picklable factory of a `CameraSource` of moving noise that breaks after `after` seconds.

    Attributes:
        fault: "", "frozen" (no new picture), "size" (another resolution), "unplugged".
    """

    fault: str = ""
    after: float = 2.0

    def __call__(self):
        """The source itself; the clock starts with the first picture."""
        self.begin, self.random = None, np.random.default_rng(0)
        self.last = None
        return self

    def latest(self):
        """See `CameraSource`; 30 pictures per second."""
        now = time.monotonic()
        self.begin = self.begin or now
        broken = now - self.begin > self.after
        if broken and self.fault == "unplugged":
            raise RobotError("The camera is unplugged.")
        if self.last is None or (
            now - self.last[1] > 1 / 30 and not (broken and self.fault == "frozen")
        ):
            size = PICTURE // 2 if broken and self.fault == "size" else PICTURE
            self.last = self.random.integers(0, 255, (size, size, 3)).astype(np.uint8), now
        return {"front": self.last}

    def close(self) -> None:
        """Nothing to release."""
