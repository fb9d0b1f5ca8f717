"""From commands at the control rate to the small steps that a servo interface wants.

A command is where the arm shall be one tick from now. The path goes there in a straight
line over one tick, never faster than its limits, and then stands still: an arm whose
policy dies is at most one tick from where it was told to be.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robot_drivers.servo_link import Sample

Float64 = NDArray[np.float64]


class JointPath:
    """Absolute joint targets, rad."""

    def __init__(self, start: Float64, *, seconds: float, speed: float, now: float):
        """Stand at `start` (N,).

        Args:
            start: where the arm is.
            seconds: length of a tick.
            speed: most rad/s of any joint.
            now: monotonic seconds.
        """
        self._from = self._goal = start.astype(np.float64)
        self._seconds, self._speed, self._begin = seconds, speed, now

    def steer(self, action: Float64, now: float) -> Float64:
        """Head for `action` (N,); what is really headed for, bounded by the speed limit."""
        start = self.at(now)
        most = self._speed * self._seconds
        self._goal = start + np.clip(action - start, -most, most)
        self._from, self._begin = start, now
        return self._goal

    def at(self, now: float) -> Float64:
        """Where the arm should be."""
        share = float(np.clip((now - self._begin) / self._seconds, 0.0, 1.0))
        return self._from + share * (self._goal - self._from)

    def lag(self, sample: Sample, now: float) -> float:
        """How far the arm is behind, rad of the worst joint."""
        return float(np.abs(self.at(now) - sample.joints).max())


class ToolPath:
    """Tool steps: metres and rotation vectors in the base frame, added to the last goal."""

    def __init__(
        self, start: Float64, *, seconds: float, speed: float, turn_speed: float, now: float
    ):
        """Stand at `start` (6,); `speed` in m/s, `turn_speed` in rad/s, both of norms."""
        self._from = self._goal = start.astype(np.float64)
        self._seconds, self._speed, self._turn_speed = seconds, speed, turn_speed
        self._begin = now

    def steer(self, action: Float64, now: float) -> Float64:
        """Head one step (6,) on from the last goal; the step really made, bounded."""
        start = self.at(now)
        step = np.concatenate(
            [
                _shortened(action[:3], self._speed * self._seconds),
                _shortened(action[3:], self._turn_speed * self._seconds),
            ]
        )
        turn = Rotation.from_rotvec(step[3:]) * Rotation.from_rotvec(self._goal[3:])
        self._goal = np.concatenate([self._goal[:3] + step[:3], turn.as_rotvec()])
        self._from, self._begin = start, now
        return step

    def at(self, now: float) -> Float64:
        """The pose (6,) that the tool should have."""
        share = float(np.clip((now - self._begin) / self._seconds, 0.0, 1.0))
        if share == 1.0:
            return self._goal.copy()
        start, goal = Rotation.from_rotvec(self._from[3:]), Rotation.from_rotvec(self._goal[3:])
        turn = Rotation.from_rotvec(share * (goal * start.inv()).as_rotvec()) * start
        place = self._from[:3] + share * (self._goal[:3] - self._from[:3])
        return np.concatenate([place, turn.as_rotvec()])

    def lag(self, sample: Sample, now: float) -> float:
        """How far the tool is behind, metres."""
        pose = sample.pose if sample.pose is not None else self.at(now)
        return float(np.linalg.norm(self.at(now)[:3] - pose[:3]))


def _shortened(vector: Float64, most: float) -> Float64:
    size = float(np.linalg.norm(vector))
    return vector if size <= most else vector * (most / size)
