"""The safety gate: the only way to a robot. It lets a command through or holds; it never edits.

What it may not let through it replaces as a whole by a hold, and the verdict says why.
The hold slows down no faster than the acceleration limit, unless the slowing path itself
would leave the allowed space; then it stops at once and the verdict says `abrupt`.

Limits come from the robot's configuration and the embodiment's bounds, never from the
policy. Axes are read by their mode, unit and frame, so the same gate serves tool deltas
and absolute joint commands. A Python process is not a safety function (ISO 13849-1): the
arm's own limits and a hardware stop stay in charge.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_drivers.causes import WAITING, Cause
from robot_drivers.config import GateConfig
from robot_drivers.limits import Body, Points
from vla.embodiment import Embodiment
from vla.errors import ContractError, RobotError
from vla.types import Float32

Float64 = NDArray[np.float64]

ROUNDING = 1e-5
"""Of float32 joint commands, rad."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of one command.

    Attributes:
        cause: NONE when the command may go out as it is.
        wanted: float32 (A,), the policy's command; all NaN when its shape was wrong.
        sent: float32 (A,), the command for the arm: `wanted`, or the hold.
        latched: the gate has stopped for good; see `SafetyGate.release`.
        abrupt: the hold had to stop faster than the acceleration limit.
    """

    cause: Cause
    wanted: Float32
    sent: Float32
    latched: bool
    abrupt: bool


class SafetyGate:
    """Judges every command of one arm; remembers what was sent last."""

    def __init__(self, config: GateConfig, embodiment: Embodiment, *, points: Points | None = None):
        """Read the axes of `embodiment`; its `hz` is the rate of `judge`.

        Args:
            config: limits.
            embodiment: of the arm.
            points: of the arm by its joints, where joints are commanded and a space is given.

        Raises:
            ContractError: when an axis cannot be guarded: an absolute axis or a workspace
                without a measured state axis of the same name, a "relative" axis.
        """
        self._config = config
        self._embodiment = embodiment
        self._body = Body(embodiment, config, points)
        self._latch = Cause.NONE
        self.reset()

    @property
    def max_age(self) -> float:
        """Oldest observation a command may rest on, seconds."""
        return self._config.max_age

    @property
    def margin(self) -> float:
        """Distance kept from the joint limits, rad."""
        return self._config.joint_margin

    @property
    def margins(self) -> Float64:
        """Distance (A,) that the controller keeps from the bounds of joint commands, rad."""
        axes = self._embodiment.action
        joints = [a.frame == "joint" and a.unit == "rad" and a.mode == "absolute" for a in axes]
        return np.where(joints, self._config.joint_margin + ROUNDING, 0.0)

    @property
    def latch_cause(self) -> Cause:
        """NONE, or why nothing may move until `release`."""
        return self._latch

    def reset(self) -> None:
        """Begin an episode: forget the last command. A latch stays."""
        self._last: Float64 | None = None
        self._velocity = np.zeros(len(self._embodiment.action))
        self._acceleration = np.zeros_like(self._velocity)
        self._refusals = self._waits = 0

    def latch(self, cause: Cause = Cause.ESTOP) -> None:
        """Stop for good, from any thread: a stop, the emergency stop, a fault of the driver."""
        if cause is Cause.NONE:
            raise ContractError("NONE is no cause to latch for; release() opens the gate.")
        final = self._latch in (Cause.ESTOP, Cause.FAULT)  # no milder stop takes their place
        self._latch = self._latch if final and cause is Cause.STOP else cause

    def release(self) -> None:
        """An operator's explicit decision that motion may begin again."""
        self._latch = Cause.NONE
        self.reset()

    @property
    def at_rest(self) -> bool:
        """Whether the last command asked for no motion of an axis with a limit."""
        return not self._body.braked(self._velocity).any()

    @property
    def motion(self) -> tuple[Float64, Float64]:
        """Speed and acceleration (A,) per axis that are within every limit; see `Body`."""
        return self._body.axis_limits()

    @property
    def course(self) -> tuple[Float32, Float64]:
        """The last command and its speed, to go on from. Raises RobotError before the first."""
        if self._last is None:
            raise RobotError("No command was sent yet.")
        return self._last.astype(np.float32), self._velocity.copy()

    def judge(
        self,
        action: Float32,
        *,
        state: Float32,
        age: float,
        plan_age: float = 0.0,
        missed: int = 0,
    ) -> Verdict:
        """Decide on one command; call once per tick, and send `Verdict.sent`.

        Args:
            action: what the policy asked for; anything at all.
            state: float32 (S,), measured last.
            age: seconds since the older of state and pictures was captured.
            plan_age: seconds since the newest plan came; 0 where the loop waits for plans.
            missed: slots of the control grid missed just before this command.

        Raises:
            RobotError: when there is neither a sensor nor a last command to hold.
        """
        measured = np.asarray(state, np.float64)
        if measured.shape != (len(self._embodiment.state),):
            measured = np.full(len(self._embodiment.state), np.nan)
        wanted = self._readable(action)
        cause = self._latch or self._refusal(wanted, action, measured, age)
        if cause is Cause.NONE and not plan_age <= self._config.max_plan_age:
            cause = Cause.PLAN
        if cause is Cause.NONE and missed > self._config.max_missed:
            cause = Cause.OVERRUN
        abrupt = False
        if cause is Cause.NONE:
            sent = wanted
            self._refusals = self._waits = 0
            self._body.narrow(sent)
        else:
            sent, abrupt = self._hold(measured, at_once=cause is Cause.ESTOP)
            self._count(cause)
        if not np.isfinite(sent).all():
            raise RobotError(
                "The state is not finite and no command was sent yet: nothing to hold. "
                "Check the arm's sensors and begin again."
            )
        command = sent.astype(np.float64)
        velocity = self._body.velocity(command, self._origin(measured))
        self._acceleration = (velocity - self._velocity) * self._embodiment.hz
        self._velocity, self._last = velocity, command
        return Verdict(
            cause=cause,
            wanted=wanted,
            sent=sent,
            latched=self._latch is not Cause.NONE,
            abrupt=abrupt,
        )

    def _count(self, cause: Cause) -> None:
        """Latch after too many bad commands in a row, or too long a hold for want of data."""
        if cause in WAITING:
            self._waits += 1
        else:
            self._refusals += 1
        bad = self._refusals >= self._config.latch_after
        long = self._waits >= self._config.hold_limit * self._embodiment.hz
        if (bad or long) and not self._latch:
            self._latch = Cause.LATCHED

    def admit(self, state: Float32) -> None:
        """Let an arm that stands outside its bounds come back in, step by step, never out."""
        self._body.admit(np.asarray(state, np.float64))

    def check_start(self, state: Float32) -> list[str]:
        """Why the arm may not start where it stands, one line each; empty when it may."""
        return self._body.start_problems(np.asarray(state, np.float64))

    def _readable(self, action: Float32) -> Float32:
        """`action` as float32 (A,), or all NaN when it is nothing of that shape."""
        axes = len(self._embodiment.action)
        numeric = isinstance(action, np.ndarray) and action.dtype.kind in "fiu"
        if not numeric or action.shape != (axes,):
            return np.full(axes, np.nan, np.float32)
        with np.errstate(over="ignore"):
            return action.astype(np.float32)

    def _refusal(self, wanted: Float32, action: Float32, measured: Float64, age: float) -> Cause:
        """The first check that fails, in the documented order."""
        body = self._body
        if np.shape(action) != wanted.shape:
            return Cause.SHAPE
        if not np.isfinite(wanted).all():
            return Cause.NOT_FINITE
        if not np.isfinite(measured).all():
            return Cause.SENSOR
        command = wanted.astype(np.float64)
        velocity = body.velocity(command, self._origin(measured))
        if not body.in_bounds(wanted):
            return Cause.BOUNDS
        if body.exceeds(velocity, "speed"):
            return Cause.VELOCITY
        acceleration = (velocity - self._velocity) * self._embodiment.hz
        if body.exceeds(acceleration, "acceleration"):
            return Cause.ACCELERATION
        if body.exceeds((acceleration - self._acceleration) * self._embodiment.hz, "jerk"):
            return Cause.JERK
        if self._last is not None and body.lags(self._last, measured):
            return Cause.TRACKING
        place = body.place(command, measured)
        if place is not Cause.NONE:
            return place
        return Cause.NONE if 0 <= age <= self._config.max_age else Cause.STALE

    def _origin(self, measured: Float64) -> Float64:
        """The command before this one; before the first, the measured pose at rest."""
        return self._body.rest(measured) if self._last is None else self._last

    def _hold(self, measured: Float64, *, at_once: bool) -> tuple[Float32, bool]:
        """The hold command, and whether it stops faster than the acceleration limit."""
        body, origin = self._body, self._origin(measured)
        slower = body.braked(self._velocity)
        rolling = bool(np.any(slower))
        if rolling and not at_once:
            command = body.advance(origin, slower).astype(np.float32)
            allowed = body.in_bounds(command)
            if allowed and body.place(command.astype(np.float64), measured) is Cause.NONE:
                return command, False
        still = body.advance(origin, np.zeros_like(slower))
        return still.astype(np.float32), rolling
