"""What an embodiment and a `GateConfig` allow: speeds, accelerations, places.

Pure geometry on one command and one measured state, without memory; the gate has the memory.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from robot_drivers.config import GateConfig
from vla.embodiment import Axis, Embodiment
from vla.errors import ContractError
from vla.types import Float32

Float64 = NDArray[np.float64]

TOLERANCE = 1e-3
"""Relative slack on speed and acceleration: float32 commands cannot carry them exactly."""
SLACK = 1e-6
"""Absolute slack on positions, metres or radians."""


class Cause(IntEnum):
    """Why a command was not sent, in the order of the checks; the number goes into the log."""

    NONE = 0
    SHAPE = 1
    NOT_FINITE = 2
    BOUNDS = 3
    VELOCITY = 4
    ACCELERATION = 5
    WORKSPACE = 6
    LEAD = 7
    JOINTS = 8
    STALE = 9
    SENSOR = 10
    LATCHED = 11
    ESTOP = 12
    FAULT = 13


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A bound on the motion of some action axes, of their norm or one by one."""

    axes: NDArray[np.intp]
    together: bool
    speed: float
    acceleration: float

    def size(self, vector: Float64) -> Float64:
        """The lengths to compare with the bound, one per axis or one in all."""
        part = vector[self.axes]
        return np.linalg.norm(part, keepdims=True) if self.together else np.abs(part)


class Body:
    """The embodiment as the gate reads it: which axis moves what, and how far it may."""

    def __init__(self, embodiment: Embodiment, config: GateConfig):
        """Raises ContractError for an axis that cannot be guarded."""
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
            Limit(axes=np.flatnonzero(which), together=together, speed=speed, acceleration=acc)
            for which, together, speed, acc in (
                (meter, True, config.linear_speed, config.linear_acceleration),
                (turn, True, config.angular_speed, config.angular_acceleration),
                (self._joint, False, config.joint_speed, config.joint_acceleration),
            )
            if which.any()
        ]
        self._states = [a.name for a in embodiment.state]
        joints = [a.frame == "joint" and a.unit == "rad" for a in embodiment.state]
        self._joints = np.flatnonzero(joints)
        self._joint_low = np.array([a.low for a in embodiment.state])[self._joints]
        self._joint_high = np.array([a.high for a in embodiment.state])[self._joints]
        loose = [axes[i].name for i in np.flatnonzero(self._joint & (self._measured < 0))]
        if loose:
            raise ContractError(f"Joint axes {loose} have no measured state axis; name them alike.")
        self._read_box(axes, states, meter)

    def _read_box(self, axes: tuple[Axis, ...], states: dict[str, int], meter: NDArray) -> None:
        """Match the workspace with the measured position and the axes that move it."""
        self._box_low = np.array(self._config.workspace_low)
        self._box_high = np.array(self._config.workspace_high)
        if not self._box_low.size:
            return
        missing = [name for name in "xyz" if name not in states]
        if missing:
            raise ContractError(f"A workspace needs the measured axes {missing} in the state.")
        self._position = np.array([states[name] for name in "xyz"])
        moved = {int(self._measured[i]): i for i in np.flatnonzero(meter)}
        self._movers = [moved.get(int(index), -1) for index in self._position]
        loose = [axes[i].name for i in np.flatnonzero(meter) if i not in self._movers]
        if loose:
            raise ContractError(f"Axes {loose} move the tool, but not along x, y or z of the box.")
        self._tool_frame = any(axes[i].frame == "tool" for i in np.flatnonzero(meter))
        self._cartesian = bool(meter.any())

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
        """Whether any limit's `bound` ("speed" or "acceleration") is broken by `vector`."""
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

    def place(self, command: Float64, measured: Float64) -> Cause:
        """WORKSPACE, LEAD or JOINTS when `command` leads out of the allowed space.

        Where the arm already stands outside, coming closer is allowed, going further is not.
        """
        if self._box_low.size and self._leaves_box(command, measured):
            return Cause.WORKSPACE
        for limit in self._limits:
            lead = np.where(self._delta, 0.0, command - measured[self._measured])
            reach = limit.speed * (self._config.lead + 1 / self._hz)
            if (limit.size(lead) > reach * (1 + TOLERANCE)).any():
                return Cause.LEAD
        return Cause.JOINTS if self._leaves_joints(command, measured) else Cause.NONE

    def _leaves_box(self, command: Float64, measured: Float64) -> bool:
        here = measured[self._position]
        outside = _outside(here, self._box_low, self._box_high)
        if not self._cartesian:  # joint commands: no kinematics here, so judge where it is
            return bool((outside > SLACK).any())
        there = here.copy()
        for index, axis in enumerate(self._movers):
            if axis >= 0:
                there[index] = command[axis] + (here[index] if self._delta[axis] else 0.0)
        if self._tool_frame:  # the direction in the base is unknown: take the worst
            reach = np.linalg.norm(there - here)
            low, high = self._box_low + reach, self._box_high - reach
            return bool((_outside(here, low, high) > SLACK).any())
        further = _outside(there, self._box_low, self._box_high)
        return bool((further > outside + SLACK).any())

    def _leaves_joints(self, command: Float64, measured: Float64) -> bool:
        margin = self._config.joint_margin
        low, high = self._joint_low + margin, self._joint_high - margin
        here = measured[self._joints]
        outside = _outside(here, low, high)
        if not self._joint.any():  # tool commands: which way a joint turns is unknown
            return bool((outside > SLACK).any())
        goal = measured.copy()
        for axis in np.flatnonzero(self._joint):
            index = self._measured[axis]
            goal[index] = command[axis] + (measured[index] if self._delta[axis] else 0.0)
        return bool((_outside(goal[self._joints], low, high) > outside + SLACK).any())

    def start_problems(self, measured: Float64) -> list[str]:
        """One line per measured axis outside its limits or the workspace."""
        lines = []
        margin = self._config.joint_margin
        low, high = self._joint_low + margin, self._joint_high - margin
        checks = [(self._joints, low, high, "rad")]
        if self._box_low.size:
            checks.append((self._position, self._box_low, self._box_high, "m"))
        for indices, lows, highs, unit in checks:
            for index, least, most in zip(indices, lows, highs, strict=True):
                value = measured[index]
                if not least - SLACK <= value <= most + SLACK:
                    name = self._states[index]
                    lines.append(f"{name} is {value:.3f} {unit}, outside {least:.3f}..{most:.3f}")
        return lines


def still_command(embodiment: Embodiment, last: Float32) -> Float32:
    """The command after `last` that asks for no further motion."""
    delta = [axis.mode == "delta" for axis in embodiment.action]
    return np.where(delta, 0.0, last).astype(np.float32)


def _outside(value: Float64, low: Float64, high: Float64) -> Float64:
    """How far `value` lies outside the interval, per axis; 0 inside."""
    return np.maximum(np.maximum(low - value, value - high), 0.0)


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
