"""Forward and inverse kinematics of a serial arm from its Denavit-Hartenberg table.

An emulated controller needs them for poses; a real arm's controller has its own. Standard
(distal) convention: Rz(q + offset) Tz(d) Tx(a) Rx(alpha).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Float64 = NDArray[np.float64]

TURN = math.pi / 2
DAMPING = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class DhChain:
    """One row (d, a, alpha, offset) per joint, metres and radians."""

    rows: tuple[tuple[float, float, float, float], ...]

    def frames(self, q: Float64) -> Float64:
        """(N + 1, 4, 4): the base, then the frame behind each joint."""
        frames = [np.eye(4)]
        for angle, (d, a, alpha, offset) in zip(q, self.rows, strict=True):
            c, s = math.cos(angle + offset), math.sin(angle + offset)
            ca, sa = math.cos(alpha), math.sin(alpha)
            step = [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d]]
            frames.append(frames[-1] @ np.array([*step, [0, 0, 0, 1]]))
        return np.array(frames)

    def pose(self, q: Float64) -> Float64:
        """Flange in the base: x, y, z in metres, rotation vector in radians; (6,)."""
        last = self.frames(q)[-1]
        return np.concatenate([last[:3, 3], Rotation.from_matrix(last[:3, :3]).as_rotvec()])

    def jacobian(self, q: Float64) -> Float64:
        """(6, N): linear and angular velocity of the flange per joint velocity, base frame."""
        frames = self.frames(q)
        axes, origins = frames[:-1, :3, 2], frames[:-1, :3, 3]
        linear = np.cross(axes, frames[-1, :3, 3] - origins)
        return np.vstack([linear.T, axes.T])

    def reach(self, pose: Float64, near: Float64, *, rounds: int = 60) -> Float64 | None:
        """Joint angles near `near` that bring the flange to `pose`; None when it cannot.

        Damped least squares: it follows small steps well, which is what servo commands are.
        """
        q, goal = near.copy(), Rotation.from_rotvec(pose[3:])
        for _ in range(rounds):
            here = self.pose(q)
            turn = (goal * Rotation.from_rotvec(here[3:]).inv()).as_rotvec()
            error = np.concatenate([pose[:3] - here[:3], turn])
            if np.abs(error).max() < 1e-6:
                return q
            jacobian = self.jacobian(q)
            square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
            q = q + jacobian.T @ np.linalg.solve(square, error)
        return None


UR = {
    "UR3e": (0.15185, -0.24355, -0.2132, 0.13105, 0.08535, 0.0921),
    "UR5e": (0.1625, -0.425, -0.3922, 0.1333, 0.0997, 0.0996),
    "UR10e": (0.1807, -0.6127, -0.57155, 0.17415, 0.11985, 0.11655),
    "UR5": (0.089159, -0.425, -0.39225, 0.10915, 0.09465, 0.0823),
}
"""d1, a2, a3, d4, d5, d6 as Universal Robots publishes them for its arms."""


def ur_chain(model: str) -> DhChain:
    """The arm of `model`, a key of `UR`."""
    d1, a2, a3, d4, d5, d6 = UR[model]
    return DhChain(
        rows=(
            (d1, 0, TURN, 0),
            (0, a2, 0, 0),
            (0, a3, 0, 0),
            (d4, 0, TURN, 0),
            (d5, 0, -TURN, 0),
            (d6, 0, 0, 0),
        )
    )


def xarm6_chain() -> DhChain:
    """XArm 6, from the table in UFACTORY's user manual (joints 2 and 3 are offset)."""
    bend = 1.3849179
    return DhChain(
        rows=(
            (0.267, 0, -TURN, 0),
            (0, 0.28948866, 0, -bend),
            (0, 0.0775, -TURN, bend),
            (0.3425, 0, TURN, 0),
            (0, 0.076, -TURN, 0),
            (0.097, 0, 0, 0),
        )
    )
