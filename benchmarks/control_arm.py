"""An arm of six position servos for the control benchmarks, and a policy that keeps Python busy.

The arm lives in the process of its loop, costs microseconds per call, and writes down when
which command came. Like a Feetech bus it cannot make an integer of NaN and raises.
"""

import math
import time
from dataclasses import dataclass

import numpy as np

from vla.embodiment import Axis, Embodiment
from vla.errors import RobotError
from vla.types import ActionChunk

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
SERVO_SPEED = 5.0  # rad/s, what a hobby servo does when its goal is far away
ROWS = 50


def body(hz: float) -> Embodiment:
    """Six absolute joints."""
    axes = tuple(Axis(name=n, unit="rad", low=-2.0, high=2.0, frame="joint") for n in JOINTS)
    return Embodiment(name="servo_arm", state=axes, action=axes, cameras={}, hz=hz)


class ServoArm:
    """A `robot_drivers.device.Device`. Moves towards its goal at servo speed, by the clock."""

    def __init__(self, hz: float):
        self.embodiment = body(hz)
        self.times, self.commands, self.torque = [], [], True
        self.pinned = False
        self.silent_until = 0.0
        self._place = np.zeros(len(JOINTS))
        self._goal = self._place.copy()
        self._when = time.monotonic()

    def connect(self) -> None:
        """Nothing to open."""

    def read(self):
        """Where the joints are."""
        self._answer()
        self._move()
        return self._place.astype(np.float32), self._when

    def write(self, action):
        """A new goal; raises what the servo bus raises for NaN."""
        self._answer()
        self.times.append(time.monotonic())
        self.commands.append(np.array(action, np.float64))
        [int(value * 4096 / math.tau) for value in action]
        self._move()
        self._goal = np.array(action, np.float64)
        return np.array(action, np.float32)

    def halt(self) -> None:
        """Hold where the last goal was."""

    def close(self) -> None:
        """Torque stays on."""

    def _answer(self) -> None:
        if time.monotonic() < self.silent_until:
            raise RobotError("The bus gave no answer within 3 ms.")

    def _move(self) -> None:
        now = time.monotonic()
        reach = 0.0 if self.pinned else SERVO_SPEED * (now - self._when)
        self._place = self._place + np.clip(self._goal - self._place, -reach, reach)
        self._when = now


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
    """Plans a slow sine on every joint, continued from where it stands."""

    hz: float
    seconds: float = 0.08
    history: int = 1

    @property
    def embodiment(self) -> Embodiment:
        """Of the arm."""
        return body(self.hz)

    def rows(self, begin: float) -> np.ndarray:
        """(ROWS, 6): 0.4 rad, a quarter turn per second of phase; at most 0.63 rad/s."""
        phase = (begin + np.arange(ROWS) / self.hz) * math.tau / 4
        return np.repeat(0.4 * np.sin(phase)[:, None], len(JOINTS), axis=1).astype(np.float32)

    def act(self, observations, *, seeds):
        """See `vla.contract.Policy`."""
        keep_busy(self.seconds)
        return [ActionChunk(actions=self._from_here(o), time=o.time) for o in observations]

    def _from_here(self, observation) -> np.ndarray:
        """The sine, reached within a second from where the arm stands, if that is known."""
        rows = self.rows(observation.time)
        state = getattr(observation, "state", None)
        if state is None:
            return rows
        fading = np.exp(-4 * np.arange(ROWS) / self.hz)[:, None]
        return (rows + fading * (state[-1] - rows[0])).astype(np.float32)


@dataclass
class WaveFactory:
    """Picklable; called in the planning process."""

    hz: float
    seconds: float = 0.08

    def __call__(self):
        """See `vla.runtime.planner.PolicyFactory`."""
        return Wave(self.hz, self.seconds), "0" * 64


def figures(arm: ServoArm, hz: float) -> dict:
    """Punctuality by the times at which commands reached the arm."""
    times = np.array(arm.times)
    gaps = np.diff(times)
    if not len(gaps):
        return {"commands": len(times)}
    off = np.abs(gaps - 1 / hz) * 1e3
    p50, p99, p999 = np.percentile(off, [50, 99, 99.9])
    rate = len(gaps) / float(times[-1] - times[0])
    return {
        "commands": len(times),
        "rate_hz": round(rate, 4),
        "rate_error_percent": round(100 * (rate / hz - 1), 4),
        "off_ms": {"p50": round(p50, 4), "p99": round(p99, 4), "p999": round(p999, 4),
                   "max": round(float(off.max()), 4)},
        "missed": int(np.maximum(np.round(gaps * hz) - 1, 0).sum()),
    }  # fmt: skip


def after_fault(arm: ServoArm, hz: float, at: float) -> dict:
    """What the arm was told from `at` (monotonic seconds) on."""
    times = np.array(arm.times)
    commands = np.array(arm.commands)
    if not len(times):
        return {"nan_reached_arm": False, "commands_after": 0}
    since = times > at
    finite = np.isfinite(commands).all(axis=1)
    moving = np.zeros(len(times), bool)
    moving[1:] = np.abs(np.diff(np.nan_to_num(commands), axis=0)).max(axis=1) > 1e-5
    last = times[moving & since & finite]
    # How long it went on to move before the first rest of at least 0.1 s.
    still = np.convolve(moving[since], np.ones(max(2, int(0.1 * hz))), "valid") == 0
    rest = float(times[since][int(np.argmax(still))] - at) if still.any() else None
    return {
        "nan_reached_arm": bool((~finite).any()),
        "commands_after": int(since.sum()),
        "at_rest_after_ms": None if rest is None else round(rest * 1e3, 1),
        "moves_again": bool(rest is not None and len(last) and last[-1] - at > rest + 0.2),
        "largest_step_rad": round(float(np.abs(np.diff(commands[finite], axis=0)).max()), 4),
    }
