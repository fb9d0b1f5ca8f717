"""The mechanics behind an emulated bus: six geared servos move a small arm under gravity.

Torque of a servo: proportional to the distance of its goal, which itself moves no faster
than the servo can turn; bounded by the stall torque. Without an integral part the arm sags
a little, as real ones do.
"""

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla.errors import ConfigError

if TYPE_CHECKING:
    import mujoco

STIFFNESS = 17.8
"""N m per rad at the proportional gain that LeRobot sets."""
STALL_TORQUE = 2.94
"""N m, STS3215 at 7.4 V (data sheet: 30 kg cm at 12 V, less at 7.4 V)."""
TOP_SPEED = 5.2
"""rad/s without load, about 50 rpm."""
LONGEST_CATCH_UP = 500
"""Steps; a process that slept longer goes on from now instead of winding forward."""


def load_arm() -> "mujoco.MjModel":
    """The arm of so101.xml; joints in the order of the servo ids 1 to 6."""
    import mujoco

    return mujoco.MjModel.from_xml_string(
        files("robot_drivers.emulators").joinpath("so101.xml").read_text()
    )


class ServoPlant:
    """Six joints in SI units, advanced to the caller's clock.

    Until a servo first gets torque the arm stays where it is, as if held by a hand.

    Attributes:
        names: of the joints, by servo.
        low, high: float64 (6,), joint limits, rad.
        goal: float64 (6,), rad; written by the servos.
        torque: bool (6,), which servos push.
        gain: float64 (6,), factor on the stiffness.
        strength: float64 (6,), fraction of the stall torque a servo may use.
        speed: float64 (6,), rad/s, how fast a goal is approached.
        pinned: bool (6,), joints that something blocks.
    """

    def __init__(self) -> None:
        """Build the arm, at rest at zero."""
        import mujoco

        self._mujoco = mujoco
        self.model = load_arm()
        self.data = mujoco.MjData(self.model)
        count = self.model.nu or self.model.njnt
        self.names = [self.model.joint(i).name for i in range(count)]
        self.low, self.high = self.model.jnt_range.T.copy()
        self.goal, self.load = np.zeros(count), np.zeros(count)
        self._target = np.zeros(count)
        self.torque, self.pinned = np.zeros(count, bool), np.zeros(count, bool)
        self.gain, self.strength = np.ones(count), np.ones(count)
        self.speed = np.full(count, TOP_SPEED)
        self._time: float | None = None
        self.place(np.zeros(count))

    @property
    def position(self) -> NDArray[np.float64]:
        """Joint positions (6,), rad."""
        return self.data.qpos

    @property
    def velocity(self) -> NDArray[np.float64]:
        """Joint velocities (6,), rad/s."""
        return self.data.qvel

    def place(self, pose: NDArray[np.float64]) -> None:
        """Put the arm into `pose` (6,), rad, at rest: the hand of an operator."""
        if np.shape(pose) != self.low.shape or not np.isfinite(pose).all():
            raise ConfigError(f"The emulated arm has {len(self.low)} joints; got {pose}.")
        self.data.qpos[:] = np.clip(pose, self.low, self.high)
        self.data.qvel[:] = 0
        self.goal[:] = self._target[:] = self.data.qpos
        self._held = True  # until a servo pushes
        self._mujoco.mj_forward(self.model, self.data)

    def latch(self, index: int) -> None:
        """Make the present position the goal of one servo: what switching torque on does."""
        self.goal[index] = self._target[index] = self.data.qpos[index]

    def advance(self, now: float) -> None:
        """Move on to `now`, seconds on the caller's monotonic clock."""
        step = self.model.opt.timestep
        if self._time is None or now - self._time > LONGEST_CATCH_UP * step:
            self._time = now
        while now - self._time >= step:
            self._time += step
            self._held = self._held and not self.torque.any()
            if not self._held:
                self._step(step)

    def _step(self, step: float) -> None:
        reach = self.speed * step
        self._target += np.clip(self.goal - self._target, -reach, reach)
        push = STIFFNESS * self.gain * (self._target - self.data.qpos)
        bound = STALL_TORQUE * self.strength
        self.load = np.where(self.torque, np.clip(push, -bound, bound), 0.0)
        self.data.qfrc_applied[:] = self.load
        before = self.data.qpos.copy()
        self._mujoco.mj_step(self.model, self.data)
        if self.pinned.any():
            self.data.qpos[self.pinned] = before[self.pinned]
            self.data.qvel[self.pinned] = 0
