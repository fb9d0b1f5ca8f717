"""Where points of an arm are, from its joint angles: the forward kinematics of its model."""

import numpy as np
from numpy.typing import NDArray

from vla.errors import RobotError, choose

Float64 = NDArray[np.float64]


class ModelPoints:
    """Positions of named bodies or sites of an MJCF or URDF model, in its world frame.

    The model is taken to stand in the arm's base frame. MuJoCo computes the kinematics alone,
    without collisions or dynamics: some ten microseconds per call.
    """

    def __init__(self, path: str, joints: list[str], points: list[str]):
        """Read the model.

        Args:
            path: of the file.
            joints: names of the angles that `__call__` gets; those that the model lacks
                (a gripper in percent) are ignored.
            points: bodies or sites.

        Raises:
            RobotError: when the file cannot be read, or has none of the joints.
            UnknownChoice: for a point that the model lacks.
        """
        import mujoco

        try:
            self._model = mujoco.MjModel.from_xml_path(path)
        except ValueError as error:
            raise RobotError(f"gate.model {path} cannot be read: {error}") from error
        self._data = mujoco.MjData(self._model)
        self._compute = mujoco.mj_kinematics
        names = {self._model.joint(i).name: i for i in range(self._model.njnt)}
        self._given = [index for index, name in enumerate(joints) if name in names]
        self._address = [int(self._model.jnt_qposadr[names[joints[i]]]) for i in self._given]
        if not self._given:
            raise RobotError(
                f"gate.model {path} has none of the joints {joints}; it has {sorted(names)}. "
                "Name the model's joints like the axes of the robot."
            )
        bodies = {self._model.body(i).name: i for i in range(self._model.nbody)}
        sites = {self._model.site(i).name: i for i in range(self._model.nsite)}
        places = {name: (self._data.xpos, index) for name, index in bodies.items()}
        places |= {name: (self._data.site_xpos, index) for name, index in sites.items()}
        self._places = [choose("point of gate.model:", name, places) for name in points]

    def __call__(self, joints: Float64) -> Float64:
        """Positions (P, 3), metres, for `joints` (J,), radians."""
        self._data.qpos[self._address] = joints[self._given]
        self._compute(self._model, self._data)
        return np.array([table[index] for table, index in self._places])
