"""The mechanics behind an emulated controller, and what can go wrong there."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_drivers.emulators.dh_chain import DhChain
from vla.errors import ConfigError

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFaults:
    """Switches; all off by default.

    Attributes:
        freeze: the controller hangs: sockets stay open, nothing answers, nothing moves.
        mute: it stops telling its state, and still obeys.
        protective_stop: it has stopped by itself (collision, joint limit); stays until recovery.
        error: code of a controller error, 0 for none (xArm).
        nan_state: a joint sensor says NaN.
        pinned: indices of joints that something blocks.
    """

    freeze: bool = False
    mute: bool = False
    protective_stop: bool = False
    error: int = 0
    nan_state: bool = False
    pinned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.error < 0:
            raise ConfigError(f"Fault error is {self.error}; give a code, or 0 for none.")


@dataclass(kw_only=True, slots=True)
class ArmPlant:
    """Joints that follow a target as first-order systems of limited speed.

    Attributes:
        chain: its kinematics.
        q, target: (N,) float64, rad.
        speed: most rad/s of any joint in the present mode.
        lag: time constant of a joint, seconds.
    """

    chain: DhChain
    q: Float64
    target: Float64 = field(init=False)
    velocity: Float64 = field(init=False)
    speed: float = 3.14
    lag: float = 0.02
    faults: ArmFaults = field(default_factory=ArmFaults)
    grip: float = 1.0
    grip_target: float = 1.0
    received: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.q = np.array(self.q, np.float64)
        self.target, self.velocity = self.q.copy(), np.zeros_like(self.q)
        self.received = {
            "commands": 0,
            "not_finite": 0,
            "largest_step": 0.0,
            "released": False,
        }

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if self.faults.freeze or seconds <= 0:
            return
        share = 1 - np.exp(-seconds / self.lag)
        step = np.clip((self.target - self.q) * share, -self.speed * seconds, self.speed * seconds)
        step[list(self.faults.pinned)] = 0.0
        self.q = self.q + step
        self.velocity = step / seconds
        self.grip += float(np.clip(self.grip_target - self.grip, -2 * seconds, 2 * seconds))

    def hold(self) -> None:
        """Stay where it is."""
        self.target = self.q.copy()

    def note(self, target: Float64) -> bool:
        """Count a command as it arrived; whether it is finite."""
        self.received["commands"] += 1
        if not np.isfinite(target).all():
            self.received["not_finite"] += 1
            return False
        step = float(np.abs(target - self.target).max())
        self.received["largest_step"] = max(self.received["largest_step"], step)
        return True

    def measured(self) -> Float64:
        """Joint angles as the sensors say them."""
        if not self.faults.nan_state:
            return self.q
        return np.concatenate([self.q[:-1], [np.nan]])

    def status(self) -> dict[str, Any]:
        """Everything a test may want to know; plain values."""
        return {
            "q": self.q.tolist(),
            "target": self.target.tolist(),
            "velocity": self.velocity.tolist(),
            "pose": self.chain.pose(self.q).tolist(),
            "grip": self.grip,
            **self.received,
        }
