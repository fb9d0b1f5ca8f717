"""What an embodiment and a `GateConfig` allow: speeds, accelerations, places.

Pure geometry on one command and one measured state, without memory; the gate has the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_drivers.causes import Cause
from robot_drivers.config import GateConfig
from robot_drivers.space import SLACK, Space, outside_of
from vla.embodiment import Axis, Embodiment
from vla.errors import ContractError
from vla.types import Float32

Float64 = NDArray[np.float64]

Points = Callable[[Float64], Float64]
"""Joint angles (J,) of the state's joint axes in their order to points (P, 3) of the arm."""

TOLERANCE = 1e-3
"""Relative slack on speed and acceleration: float32 commands cannot carry them exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A bound on the motion of some action axes, of their norm or one by one."""

    axes: NDArray[np.intp]
    together: bool
    speed: float
    acceleration: float
    jerk: float

    def size(self, vector: Float64) -> Float64:
        """The lengths to compare with the bound, one per axis or one in all."""
        part = vector[self.axes]
        return np.linalg.norm(part, keepdims=True) if self.together else np.abs(part)


class Body:
    """The embodiment as the gate reads it: which axis moves what, and how far it may."""

    def __init__(self, embodiment: Embodiment, config: GateConfig, points: Points | None = None):
        """Raises ContractError for an axis, or a space, that cannot be guarded."""
        self._config, self._hz = config, embodiment.hz
        axes, states = embodiment.action, {a.name: i for i, a in enumerate(embodiment.state)}
        self._low = np.array([a.low for a in axes], np.float32)
        self._high = np.array([a.high for a in axes], np.float32)
        self._delta = np.array([a.mode == "delta" for a in axes], bool)
        self._measured = np.array([_state_index(a, states) for a in axes], np.intp)
        self._joint = np.array([a.frame == "joint" and a.unit == "rad" for a in axes], bool)
        tool = np.array([a.frame != "joint" for a in axes], bool)
        meter = tool & np.array([a.unit == "m" for a in axes], bool)
        turn = tool & np.array([a.unit == "rad" for a in axes], bool)
        self._limits = [
            Limit(
                axes=np.flatnonzero(which),
                together=which is not self._joint,
                speed=getattr(config, f"{kind}_speed"),
                acceleration=getattr(config, f"{kind}_acceleration"),
                jerk=getattr(config, f"{kind}_jerk") or np.inf,
            )
            for kind, which in (("linear", meter), ("angular", turn), ("joint", self._joint))
            if which.any()
        ]
        plain = ~self._delta & np.array([a.unit == "1" for a in axes], bool)
        if config.gripper_speed and plain.any():
            self._limits.append(
                Limit(axes=np.flatnonzero(plain), together=False, speed=config.gripper_speed,
                      acceleration=np.inf, jerk=np.inf)
            )  # fmt: skip
        self._firm_low, self._firm_high = self._low, self._high
        self._states = [a.name for a in embodiment.state]
        joints = [a.frame == "joint" and a.unit == "rad" for a in embodiment.state]
        self._joints = np.flatnonzero(joints)
        self._all_joints = np.flatnonzero([a.frame == "joint" for a in embodiment.state])
        self._joint_low = np.array([a.low for a in embodiment.state])[self._joints]
        self._joint_high = np.array([a.high for a in embodiment.state])[self._joints]
        loose = [axes[i].name for i in np.flatnonzero(self._joint & (self._measured < 0))]
        if loose:
            raise ContractError(f"Joint axes {loose} have no measured state axis; name them alike.")
        self._points = points
        self._space = Space(config)
        if self._space.limited and not (points is not None and self._joint.any()):
            self._read_box(axes, states, meter)

    def _read_box(self, axes: tuple[Axis, ...], states: dict[str, int], meter: NDArray) -> None:
        """Match the space with the measured position and the axes that move it."""
        self._points = None
        missing = [name for name in "xyz" if name not in states]
        if missing:
            raise ContractError(
                f"A workspace needs the measured axes {missing} in the state, or, for joint "
                "commands, gate.model."
            )
        self._position = np.array([states[name] for name in "xyz"])
        moved = {int(self._measured[i]): i for i in np.flatnonzero(meter)}
        self._movers = [moved.get(int(index), -1) for index in self._position]
        loose = [axes[i].name for i in np.flatnonzero(meter) if i not in self._movers]
        if loose:
            raise ContractError(f"Axes {loose} move the tool, but not along x, y or z of the box.")
        self._tool_frame = any(axes[i].frame == "tool" for i in np.flatnonzero(meter))
        self._cartesian = bool(meter.any())

    def axis_limits(self) -> tuple[Float64, Float64]:
        """Speed and acceleration (A,) that keep to every limit in all directions at once.

        A limit on a norm is shared out evenly; axes without a limit have infinity.
        """
        speed, acceleration = np.full((2, len(self._low)), np.inf)
        for limit in self._limits:
            share = np.sqrt(len(limit.axes)) if limit.together else 1.0
            speed[limit.axes] = limit.speed / share
            acceleration[limit.axes] = limit.acceleration / share
        return speed, acceleration

    def rest(self, measured: Float64) -> Float64:
        """The command that leaves the arm where it is measured to be."""
        return np.where(self._delta, 0.0, measured[self._measured])

    def velocity(self, command: Float64, origin: Float64) -> Float64:
        """Speed of each axis that `command` asks for, units per second."""
        return np.where(self._delta, command, command - origin) * self._hz

    def advance(self, origin: Float64, velocity: Float64) -> Float64:
        """The command after `origin` that moves at `velocity`; inverse of `velocity`."""
        return np.where(self._delta, 0.0, origin) + velocity / self._hz

    def exceeds(self, vector: Float64, bound: str) -> bool:
        """Whether any limit's `bound` ("speed", "acceleration" or "jerk") is broken by `vector`."""
        return any(
            bool((limit.size(vector) > getattr(limit, bound) * (1 + TOLERANCE)).any())
            for limit in self._limits
        )

    def braked(self, velocity: Float64) -> Float64:
        """`velocity` one tick later when braking at the acceleration limit; others stop."""
        slower = np.zeros_like(velocity)
        for limit in self._limits:
            size = limit.size(velocity)
            keep = np.maximum(0.0, size - limit.acceleration / self._hz)
            slower[limit.axes] = velocity[limit.axes] * keep / np.maximum(size, 1e-12)
        return slower

    def in_bounds(self, command: Float32) -> bool:
        """Whether every axis lies in the embodiment's bounds (compared as float32)."""
        return bool(((command >= self._low) & (command <= self._high)).all())

    def admit(self, measured: Float64) -> None:
        """Widen the bounds of absolute axes to where the arm stands; NaN entries do not count."""
        here = np.where(self._delta, np.nan, measured[self._measured]).astype(np.float32)
        self._low = np.fmin(self._firm_low, here)
        self._high = np.fmax(self._firm_high, here)

    def narrow(self, command: Float32) -> None:
        """Take widened bounds back as far as `command` has come in: there is no way back out."""
        self._low = np.maximum(self._low, np.minimum(self._firm_low, command))
        self._high = np.minimum(self._high, np.maximum(self._firm_high, command))

    def place(self, command: Float64, measured: Float64) -> Cause:
        """WORKSPACE, LEAD or JOINTS when `command` leads out of the allowed space.

        Where the arm already stands outside, coming closer is allowed, going further is not.
        """
        if self._space.limited and self._trespasses(command, measured):
            return Cause.WORKSPACE
        for limit in self._limits:
            lead = np.where(self._delta, 0.0, command - measured[self._measured])
            reach = limit.speed * (self._config.lead + 1 / self._hz)
            if (limit.size(lead) > reach * (1 + TOLERANCE)).any():
                return Cause.LEAD
        return Cause.JOINTS if self._leaves_joints(command, measured) else Cause.NONE

    def lags(self, sent: Float64, measured: Float64) -> bool:
        """Whether an absolute joint is further than `tracking` from where it was sent last."""
        axes = np.flatnonzero(self._joint & ~self._delta)
        error = np.abs(sent[axes] - measured[self._measured[axes]])
        return bool((error > self._config.tracking).any())

    def _trespasses(self, command: Float64, measured: Float64) -> bool:
        if self._points is not None:
            goal = self._goal(command, measured)
            here, there = (self._points(v[self._all_joints]) for v in (measured, goal))
            return self._space.worse(here, there)
        here = measured[self._position][None]
        if not self._cartesian:  # joint commands, no model: judge where it is
            return bool((self._space.trespass(here) > SLACK).any())
        there = here.copy()
        for index, axis in enumerate(self._movers):
            if axis >= 0:
                start = here[0, index] if self._delta[axis] else 0.0
                there[0, index] = command[axis] + start
        if self._tool_frame:  # the direction in the base is unknown: take the worst
            reach = float(np.linalg.norm(there - here))
            return bool((self._space.trespass(here, reach=reach) > SLACK).any())
        return self._space.worse(here, there)

    def _goal(self, command: Float64, measured: Float64) -> Float64:
        """The measured state as it would be with the joints where `command` wants them."""
        goal = measured.copy()
        for axis in np.flatnonzero(self._joint):
            index = self._measured[axis]
            goal[index] = command[axis] + (measured[index] if self._delta[axis] else 0.0)
        return goal

    def _leaves_joints(self, command: Float64, measured: Float64) -> bool:
        margin = self._config.joint_margin
        low, high = self._joint_low + margin, self._joint_high - margin
        here = measured[self._joints]
        outside = outside_of(here, low, high)
        if not self._joint.any():  # tool commands: which way a joint turns is unknown
            return bool((outside > SLACK).any())
        goal = self._goal(command, measured)
        return bool((outside_of(goal[self._joints], low, high) > outside + SLACK).any())

    def start_problems(self, measured: Float64) -> list[str]:
        """One line per measured axis outside its limits or the workspace."""
        lines = []
        margin = self._config.joint_margin
        low, high = self._joint_low + margin, self._joint_high - margin
        checks = [(self._joints, low, high, "rad")]
        if self._space.limited and self._points is None:
            checks.append((self._position, *self._space.box, "m"))
        for indices, lows, highs, unit in checks:
            for index, least, most in zip(indices, lows, highs, strict=True):
                value = measured[index]
                if not least - SLACK <= value <= most + SLACK:
                    name = self._states[index]
                    lines.append(f"{name} is {value:.3f} {unit}, outside {least:.3f}..{most:.3f}")
        if self._points is not None and self._space.limited:
            deep = self._space.trespass(self._points(measured[self._all_joints])).max(axis=1)
            lines += [
                f"point {self._config.model_points[i]} is {deep[i]:.3f} m where it must not be"
                for i in np.flatnonzero(deep > SLACK)
            ]
        return lines


def still_command(embodiment: Embodiment, last: Float32) -> Float32:
    """The command after `last` that asks for no further motion."""
    delta = [axis.mode == "delta" for axis in embodiment.action]
    return np.where(delta, 0.0, last).astype(np.float32)


def _state_index(axis: Axis, states: dict[str, int]) -> int:
    """State axis that measures an action axis: "dx" moves "x", "joint1" is "joint1"; -1: none."""
    if axis.mode == "relative":
        raise ContractError(
            f"Action axis {axis.name!r} is relative to a plan; the gate judges single commands. "
            "Use absolute or delta axes on a robot."
        )
    name = axis.name
    if axis.mode == "delta" and name not in states and name.startswith("d"):
        name = name[1:]
    if name in states:
        return states[name]
    if axis.mode == "delta":
        return -1
    raise ContractError(
        f"Absolute action axis {axis.name!r} has no state axis of that name, so the gate "
        f"cannot hold it. Measured axes: {', '.join(states) or 'none'}."
    )
