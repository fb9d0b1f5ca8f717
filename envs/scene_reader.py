"""Reads the scene's truth out of MuJoCo's arrays."""

import mink
import mujoco
import numpy as np

from envs.arms import Arm
from envs.kinematics import DOWN
from envs.task import SceneState


class SceneReader:
    """Knows where the arm's and objects' numbers lie in one model; arrays it returns are copies."""

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        *,
        arm: Arm,
        slots: int,
        fixtures: int,
    ):
        self._model, self._data = model, data
        address = model.jnt_qposadr
        self._arm = arm
        self.arm = np.array([address[model.joint(f"joint{i + 1}").id] for i in range(7)])
        self.fingers = np.array([address[model.joint(name).id] for name in arm.fingers])
        # Bodies of a perturbation (distractors) are further slots, which no task looks at.
        starts = [address[model.joint(f"object{slot}").id] for slot in range(slots)]
        self._objects = np.array(starts, dtype=int)[:, None] + np.arange(7)
        self._bodies = [model.body(f"object{slot}").id for slot in range(slots)]
        self._joints = [
            mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, f"fixture{index}_moving")
            for index in range(fixtures)
        ]
        self._gripper = [model.body(name).id for name in arm.touching]
        self._pinch = model.site("pinch").id

    def joints(self) -> np.ndarray:
        """Joint angles (7,), radians."""
        return self._data.qpos[self.arm]

    def tool(self) -> mink.SE3:
        """Pose of the fingertip frame in the base frame."""
        rotation = mink.SO3.from_matrix(self._data.site_xmat[self._pinch].reshape(3, 3))
        position = self._data.site_xpos[self._pinch].copy()
        return mink.SE3.from_rotation_and_translation(rotation, position)

    def rotation(self, tool: mink.SE3) -> np.ndarray:
        """Rotation vector (3,) in radians of a tool pose relative to pointing straight down."""
        return (tool.rotation() @ DOWN.inverse()).log()

    def opening(self) -> float:
        """Distance of the fingers, 0 to 1."""
        angle = self._data.qpos[self.fingers].mean()
        share = (angle - self._arm.shut_at) / (self._arm.open_at - self._arm.shut_at)
        return float(np.clip(share, 0.0, 1.0))

    def things(self) -> np.ndarray:
        """Object centres (n, 3), metres."""
        return self._data.qpos[self._objects[:, :3]]

    def values(self) -> np.ndarray:
        """Per fixture its joint's position (m,), metres or radians; 0 where it has none."""
        address, qpos = self._model.jnt_qposadr, self._data.qpos
        return np.array([qpos[address[joint]] if joint >= 0 else 0.0 for joint in self._joints])

    def state(self) -> SceneState:
        """Everything at once, without what only time tells."""
        tool = self.tool()
        w, x, y, z = self._data.qpos[self._objects[:, 3:]].T
        touches = self._touches()
        return SceneState(
            tool=tool.translation(),
            rotation=self.rotation(tool),
            opening=self.opening(),
            things=self.things(),
            yaws=np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
            touched=touches.any(axis=1),
            held=touches[:, 1] & touches[:, 2],
            values=self.values(),
        )

    def project(self, point: np.ndarray, camera: str) -> np.ndarray:
        """Normalised (u, v), float32 (2,), of `point` (3,) in metres in a square picture.

        u points right and v down; -1 and 1 are the picture's edges.
        """
        index = self._model.camera(camera).id
        axes = self._data.cam_xmat[index].reshape(3, 3)
        x, y, z = axes.T @ (point - self._data.cam_xpos[index])
        extent = np.tan(np.deg2rad(self._model.cam_fovy[index]) / 2) * -z
        return np.array([x / extent, -y / extent], dtype=np.float32)

    def _touches(self) -> np.ndarray:
        """Bool (n objects, 3): does the hand, the left finger, the right finger touch it now."""
        touches = np.zeros((len(self._bodies), 3), dtype=bool)
        for pair in self._model.geom_bodyid[self._data.contact.geom]:
            for thing, toucher in (pair, pair[::-1]):
                if thing in self._bodies and toucher in self._gripper:
                    touches[self._bodies.index(thing), self._gripper.index(toucher)] = True
        return touches
