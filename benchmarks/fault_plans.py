"""Plans and pictures for the fault matrix, and what goes wrong with them."""

import math
import random
import time
from dataclasses import dataclass, replace

import numpy as np

from vla.embodiment import Camera, Embodiment
from vla.errors import RobotError, ServingError
from vla.types import ActionChunk

PICTURE = 32
ROWS = 50


def joints_of(body: Embodiment) -> np.ndarray:
    """Indices of the action axes in rad."""
    return np.array([i for i, axis in enumerate(body.action) if axis.unit == "rad"])


def with_camera(body: Embodiment) -> Embodiment:
    """`body` with one small camera."""
    return replace(body, cameras={"front": Camera(height=PICTURE, width=PICTURE)})


def keep_busy(seconds: float) -> None:
    """Python work of small steps, which holds the interpreter's lock like eager models do."""
    end = time.monotonic() + seconds
    table = {}
    while time.monotonic() < end:
        for key in range(50):
            table[key] = (key * 7) % 11
        sum(table.values())


@dataclass
class Wave:
    """Plans a slow sine on every joint; grippers go round the middle of their stroke.

    Attributes:
        body: any.
        seconds: of Python work per plan.
        amplitude: rad; a quarter turn of phase per second, so 0.4 moves at most 0.63 rad/s.
        open_loop: go by the clock alone; otherwise on from where the arm stands.
    """

    body: Embodiment
    seconds: float = 0.08
    amplitude: float = 0.4
    open_loop: bool = False
    history: int = 1

    @property
    def embodiment(self) -> Embodiment:
        """Of the arm."""
        return self.body

    def rows(self, begin: float) -> np.ndarray:
        """(ROWS, A) from monotonic second `begin` on."""
        phase = (begin + np.arange(ROWS) / self.body.hz) * math.tau / 4
        wave = self.amplitude * np.sin(phase)[:, None]
        middle = np.array([0.5 if a.unit == "1" else 0.0 for a in self.body.action])
        scale = np.array([0.2 if a.unit == "1" else 1.0 for a in self.body.action])
        return (middle + scale * wave).astype(np.float32)

    def act(self, observations, *, seeds):
        """See `vla.contract.Policy`."""
        keep_busy(self.seconds)
        return [ActionChunk(actions=self._from_here(o), time=o.time) for o in observations]

    def _from_here(self, observation) -> np.ndarray:
        """The sine, reached within a second from where the arm stands."""
        rows = self.rows(observation.time)
        if self.open_loop:
            return rows
        fading = np.exp(-4 * np.arange(ROWS) / self.body.hz)[:, None]
        return (rows + fading * (observation.state[-1] - rows[0])).astype(np.float32)


@dataclass
class WaveOf:
    """Picklable factory of a `Wave`, with what a bad network makes of its plans.

    Attributes:
        trouble: "", "jitter" (0 to 0.5 s late at random), "dropped" (none arrives after a
            second), "replayed" (the same reply again and again after a second), "reordered"
            (older replies in between), "clock" (the wall clock of the planning process jumps
            about).
    """

    body: Embodiment
    seconds: float = 0.03
    amplitude: float = 0.4
    open_loop: bool = False
    trouble: str = ""

    def __call__(self):
        """See `vla.runtime.planner.PolicyFactory`."""
        wave = Wave(self.body, self.seconds, amplitude=self.amplitude, open_loop=self.open_loop)
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
        if self.trouble == "dropped":
            raise ServingError("The network is gone.")
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
