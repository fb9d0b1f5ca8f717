"""Forward and inverse kinematics of the arm, solved as a quadratic program by mink and daqp."""

import mink
import mujoco
import numpy as np

from envs.arms import Arm, load_arm

DOWN = mink.SO3(np.array([0.0, 1.0, 0.0, 0.0]))
"""Orientation of the fingertip frame when the tool points straight down (half a turn about x)."""


class ArmKinematics:
    """Follows a moving target pose with the arm's seven joints; the fingers stay open.

    The solution depends on the last one (`joints`), so that the arm keeps its posture; `reset`
    begins anew.

    Args:
        arm: whose; by default the primitive one. Its seven joints come first in the model.
        iterations: steps of the solver per call of `follow`.
    """

    def __init__(self, arm: Arm | None = None, *, iterations: int = 2):
        arm = arm or load_arm("primitive")
        spec = mujoco.MjSpec()
        spec.add_material(name="plastic")
        arm.add(spec)
        model = spec.compile()
        self._iterations = iterations
        self._configuration = mink.Configuration(model)
        self._limits = [mink.ConfigurationLimit(model)]
        self._frame = mink.FrameTask("pinch", "site", position_cost=10.0, orientation_cost=3.0)
        posture = mink.PostureTask(model, cost=0.02)
        self._rest = model.qpos0.copy()
        self._rest[[model.joint(name).qposadr[0] for name in arm.fingers]] = arm.open_at
        self._posture = np.array(arm.posture)
        posture.set_target(np.concatenate([self._posture, self._rest[7:]]))
        self._tasks = [self._frame, posture]

    @property
    def joints(self) -> np.ndarray:
        """Joint angles (7,) of the last solution, radians."""
        return self._configuration.q[:7].copy()

    def forward(self, joints: np.ndarray) -> mink.SE3:
        """Pose of the fingertip frame in the base frame at `joints` (7,), radians."""
        self._set(joints)
        return self._configuration.get_transform_frame_to_world("pinch", "site")

    def reset(self, target: mink.SE3) -> np.ndarray:
        """Joints (7,) that put the fingertip frame at `target`, from the standard posture."""
        self._set(self._posture)
        for _ in range(30):
            joints = self.follow(target)
        return joints

    def follow(self, target: mink.SE3) -> np.ndarray:
        """Joints (7,) nearest to the last that put the fingertip frame at `target`."""
        self._frame.set_target(target)
        for _ in range(self._iterations):
            velocity = mink.solve_ik(
                self._configuration,
                self._tasks,
                dt=1.0,
                solver="daqp",
                damping=1e-4,
                limits=self._limits,
            )
            self._configuration.integrate_inplace(velocity, 1.0)
        return self.joints

    def _set(self, joints: np.ndarray) -> None:
        self._configuration.update(np.concatenate([joints, self._rest[7:]]))
