"""What a broken controller may ask of an arm: all kinds of nonsense, and the nearly legal."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_drivers.causes import Cause
from robot_drivers.config import GateConfig
from robot_drivers.gate import SafetyGate
from vla.embodiment import Embodiment

NEAR = ("step", "step", "rush", "rush", "rush", "turn", "edge")
BAD = ("nan", "huge", "bits", "far", "jump", "shape", "type", "stale", "missed", "sensor")
STRANGE = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -0.0, 1e9)


@dataclass(kw_only=True, slots=True)
class Wish:
    """One command, and the circumstances in which it comes.

    Attributes:
        action: anything at all.
        stale: seconds by which the state it rests on is too old; negative: from the future.
        broken: whether a sensor measures NaN.
        missed: slots of the grid missed before it.
    """

    action: Any
    stale: float = 0.0
    broken: bool = False
    missed: int = 0


class Fuzzer:
    """Draws commands around what the gate last sent; a flight is wilder or milder by chance.

    Attributes:
        kinds, causes: how many of each kind were drawn, and what the gate said, by code.
        passed: how many were let through.
    """

    def __init__(self, body: Embodiment, limits: GateConfig, seed: int):
        self._random, self._axes, self._hz = np.random.default_rng(seed), len(body.action), body.hz
        self._low = np.array([axis.low for axis in body.action])
        self._high = np.array([axis.high for axis in body.action])
        self._speed = np.where([a.unit == "rad" for a in body.action], limits.joint_speed,
                               limits.gripper_speed or 2.0)  # fmt: skip
        self._push = limits.joint_acceleration
        self.kinds: Counter[str] = Counter()
        self.causes: Counter[int] = Counter()
        self.passed, self._wild = 0, 0.0
        self._last = self._velocity = np.zeros(self._axes)

    def begin(self, gate: SafetyGate, state: np.ndarray) -> None:
        """A new flight from `state` (A,)."""
        self._last, self._velocity = state.astype(np.float64), np.zeros(self._axes)
        self._wild = float(self._random.choice([0.02, 0.1, 0.3, 0.6, 1.0]))
        self._heading = self._random.choice([-1, 0, 1], self._axes) * self._speed
        judge = gate.judge

        def noted(*arguments: Any, **options: Any) -> Any:
            verdict = judge(*arguments, **options)
            self.causes[int(verdict.cause)] += 1
            self.passed += verdict.cause is Cause.NONE
            return verdict

        if not hasattr(gate, "fuzzed"):
            gate.judge, gate.fuzzed = noted, True

    def note(self, gate: SafetyGate) -> None:
        """What was sent, to draw the next one around it."""
        self._last, self._velocity = (np.asarray(part, np.float64) for part in gate.course)

    def draw(self) -> Wish:
        """The next command."""
        kinds = BAD if self._random.random() < self._wild else NEAR
        kind = str(self._random.choice(kinds))
        self.kinds[kind] += 1
        draw: Callable[[], Wish] = getattr(self, f"_{kind}")
        return draw()

    def _follow(self, share: float) -> np.ndarray:
        """The next place when the motion goes on, changed by about `share` of the limit."""
        noise = self._random.normal(0, share * self._push / self._hz, self._axes)
        speed = np.clip(self._velocity + noise, -self._speed, self._speed)
        return (self._last + speed / self._hz).astype(np.float32)

    def _step(self) -> Wish:
        return Wish(action=self._follow(0.4))

    def _rush(self) -> Wish:
        """As fast as allowed, or a hair faster, on and on into the bounds."""
        aim = self._heading * self._random.normal(0.998, 2e-3, self._axes)
        change = 0.97 * self._push / self._hz
        speed = self._velocity + np.clip(aim - self._velocity, -change, change)
        return Wish(action=(self._last + speed / self._hz).astype(np.float32))

    def _turn(self) -> Wish:
        """At the limits of acceleration: some just inside, some just outside."""
        side = self._random.choice([-1, 1], self._axes) * self._random.normal(1, 0.01, self._axes)
        speed = self._velocity + side * self._push / self._hz
        return Wish(action=(self._last + speed / self._hz).astype(np.float32))

    def _edge(self) -> Wish:
        """Towards one bound, at full speed and a hair more or less."""
        bound = np.where(self._random.random(self._axes) < 0.5, self._low, self._high)
        reach = self._speed / self._hz * self._random.normal(1, 1e-3, self._axes)
        step = np.clip(bound - self._last, -reach, reach)
        return Wish(action=(self._last + step).astype(np.float32))

    def _some(self, values: Any) -> Wish:
        action = self._follow(0.2)
        which = self._random.random(self._axes) < self._random.choice([0.2, 1.0])
        which[self._random.integers(self._axes)] = True
        action[which] = np.asarray(values, np.float32)[which]
        return Wish(action=action)

    def _nan(self) -> Wish:
        return self._some(self._random.choice(STRANGE, self._axes))

    def _huge(self) -> Wish:
        with np.errstate(over="ignore"):
            return self._some(self._random.normal(0, 10.0 ** self._random.uniform(1, 39), 6)
                              if self._axes == 6 else np.full(self._axes, 1e30))  # fmt: skip

    def _bits(self) -> Wish:
        return self._some(self._random.integers(0, 2**32, self._axes, np.uint32).view(np.float32))

    def _far(self) -> Wish:
        return self._some(self._random.uniform(2 * self._low - 1, 2 * self._high + 1))

    def _jump(self) -> Wish:
        return self._some(self._last + self._random.normal(0, 0.2, self._axes))

    def _shape(self) -> Wish:
        shape = [(self._axes - 1,), (self._axes + 1,), (0,), (), (1, self._axes), (self._axes, 1)]
        return Wish(action=np.resize(self._follow(0.2), shape[self._random.integers(len(shape))]))

    def _type(self) -> Wish:
        near = self._follow(0.2)
        made = [
            near.tolist(), near.astype(object), near.astype(complex), near.astype("S8"), None,
            near.astype(np.float64), near.astype(np.int64), near.astype(bool), "home", float("nan"),
            {"shoulder_pan": 0.0}, near.astype(np.float64) * 1e300,
        ]  # fmt: skip
        return Wish(action=made[self._random.integers(len(made))])

    def _stale(self) -> Wish:
        return Wish(
            action=self._follow(0.2), stale=float(self._random.choice([0.3, 5.0, -1.0, 0.2]))
        )

    def _missed(self) -> Wish:
        return Wish(action=self._follow(0.2), missed=int(self._random.integers(1, 200)))

    def _sensor(self) -> Wish:
        return Wish(action=self._follow(0.2), broken=True)
