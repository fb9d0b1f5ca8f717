"""Tool steps for an arm that takes joint goals: inverse kinematics on the arm's own model.

    policy  dx dy dz drx dry drz gripper ──▶ ToolArm ──IK──▶ joint goals, gripper ──▶ the arm

Positions come first, turns second (`TURN_COST`). An arm with five joints, like the SO-101,
can follow the position and two of the three turns; the third is dropped. Every step begins
where the last one really led, so what was dropped is not caught up with later, and `write`
returns the step that the joints make, not the one that was asked for.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robot_drivers.arm_body import PLACES, TURNS, tool_steps
from robot_drivers.device import Device
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, RobotError, ShapeError, choose
from vla.types import Float32

Float64 = NDArray[np.float64]
TURN_COST = 0.05
"""Of an angle of 1 rad against a distance of 1 m."""
ROUNDS = 4
"""Solutions of the linearised problem per command; errors of a step fall below 0.1 mm."""
DAMPING = 1e-4
MARGIN = 0.03
"""Distance kept from the joint limits, rad: more than the gate's own margin."""


class ToolArm:
    """Implements `device.Device` over one that takes absolute joint goals; tool steps in."""

    def __init__(
        self,
        robot: Device,
        *,
        model: str,
        site: str,
        origin: list[float],
        joint_speed: float,
        lag: float,
    ):
        """Wrap `robot`; opens nothing.

        Args:
            robot: takes absolute joints, named as in the model, and at most one gripper.
            model: MJCF or URDF file of the arm.
            site: site (or body) of the tool, in which poses are told.
            origin: x, y, z of the arm's base in the frame of the policy, metres.
            joint_speed: most rad/s of any joint.
            lag: how far a joint may trail its goal, rad.

        Raises:
            ConfigError: when arm and model do not fit.
        """
        self._robot, self._lag = robot, lag
        inner = robot.embodiment
        self._joints = [i for i, a in enumerate(inner.action) if a.unit == "rad"]
        self._grips = [i for i, a in enumerate(inner.action) if a.unit == "1"]
        if len(self._joints) + len(self._grips) < len(inner.action) or len(self._grips) > 1:
            raise ConfigError(f"{inner.name} has other axes than joints and one gripper.")
        if any(a.mode != "absolute" for a in inner.action) or inner.action != inner.state:
            raise ConfigError(f"{inner.name} must take and measure the same absolute joints.")
        self._origin = np.array(origin, np.float64)
        self._solver = PoseSolver(
            model, site, [inner.action[i] for i in self._joints], speed=joint_speed, hz=inner.hz
        )
        self.embodiment = self._describe(inner)
        self._state: Float32 | None = None
        self._goal: Float64 | None = None

    def _describe(self, inner: Embodiment) -> Embodiment:
        places = tuple(Axis(name=name, unit="m", low=-2.0, high=2.0) for name in PLACES)
        turns = tuple(Axis(name=name, unit="rad", low=-np.pi, high=np.pi) for name in TURNS)
        joints = tuple(inner.action[i] for i in self._joints)
        grip = tuple(inner.action[i] for i in self._grips)
        return replace(
            inner,
            name=f"{inner.name}_tool",
            state=(*joints, *places, *turns, *grip),
            action=(*tool_steps(), *grip),
            rotation="rotvec",
        )

    def connect(self) -> None:
        """The arm's."""
        self._goal = None
        self._robot.connect()

    def read(self) -> tuple[Float32, float]:
        """Joints (rad), tool pose (m, rotation vector in rad) and gripper; when measured."""
        self._state, when = self._robot.read()
        joints = self._state[self._joints]
        place, turn = self._solver.pose(joints.astype(np.float64))
        pose = np.concatenate([place + self._origin, turn.as_rotvec()])
        return np.concatenate([joints, pose, self._state[self._grips]]).astype(np.float32), when

    def write(self, action: Float32) -> Float32:
        """One tool step (7,) or (6,); the step that the joints' new goal makes.

        Raises:
            ShapeError: for anything but A finite numbers.
            RobotError: when a joint does not follow.
        """
        step = np.asarray(action, np.float64)
        if step.shape != (len(self.embodiment.action),) or not np.isfinite(step).all():
            raise ShapeError(
                f"A command has {len(self.embodiment.action)} finite numbers; got {action!r}."
            )
        if self._state is None:
            self.read()
        measured = self._state[self._joints].astype(np.float64)
        start = measured if self._goal is None else self._goal
        behind = float(np.abs(start - measured).max())
        if behind > self._lag:
            raise RobotError(
                f"{self.embodiment.name} is {behind:.2f} rad behind its commands: something "
                "blocks it, or it is slower than robot.tool.joint_speed."
            )
        goal = self._solver.follow(start, step[:6])
        command = np.empty(len(self._robot.embodiment.action), np.float32)
        command[self._joints], command[self._grips] = goal, step[6:]
        sent = self._robot.write(command).astype(np.float64)
        self._goal = goal
        made = self._solver.step(start, sent[self._joints])
        return np.concatenate([made, sent[self._grips]]).astype(np.float32)

    def halt(self) -> None:
        """The arm's; the next step begins where it stands."""
        self._goal = None
        self._robot.halt()

    def close(self) -> None:
        """The arm's."""
        self._robot.close()

    def release(self) -> None:
        """The arm's: it goes limp."""
        self._robot.release()


class PoseSolver:
    """Kinematics of one arm, forwards and backwards; angles in the order of `axes`."""

    def __init__(self, model: str, site: str, axes: list[Axis], *, speed: float, hz: float):
        """Read the model. Raises ConfigError when it does not fit."""
        import mink
        import mujoco

        try:
            self._model = mujoco.MjModel.from_xml_path(model)
        except ValueError as error:
            raise ConfigError(f"robot.tool.model {model} cannot be read: {error}") from error
        joints = {self._model.joint(i).name: i for i in range(self._model.njnt)}
        found = [choose("joint of robot.tool.model:", axis.name, joints) for axis in axes]
        kinds = {"site": self._model.nsite, "body": self._model.nbody}
        frames = {getattr(self._model, k)(i).name: k for k, n in kinds.items() for i in range(n)}
        kind = choose("robot.tool.site:", site, frames)
        self._address = self._model.jnt_qposadr[found]
        self._speeds = self._model.jnt_dofadr[found]
        for index, axis in zip(found, axes, strict=True):  # the arm's own limits, not the model's
            self._model.jnt_range[index] = axis.low + MARGIN, axis.high - MARGIN
            self._model.jnt_limited[index] = 1
        self._bounds = np.array([[a.low + MARGIN, a.high - MARGIN] for a in axes]).T
        self._configuration: Any = mink.Configuration(self._model)
        self._task = mink.FrameTask(
            frame_name=site, frame_type=kind, position_cost=1.0, orientation_cost=TURN_COST
        )
        self._frame, self._most, self._dt = (site, kind), speed / hz, 1.0 / hz

    def pose(self, joints: Float64) -> tuple[Float64, Rotation]:
        """Position (3,) in metres and attitude of the tool in the arm's base frame."""
        self._put(joints)
        pose = self._configuration.get_transform_frame_to_world(*self._frame)
        return pose.translation().copy(), Rotation.from_matrix(pose.rotation().as_matrix())

    def step(self, start: Float64, end: Float64) -> Float64:
        """The tool step (6,) from one set of joints to another."""
        (place, turn), (there, turned) = self.pose(start), self.pose(end)
        return np.concatenate([there - place, (turned * turn.inv()).as_rotvec()])

    def follow(self, joints: Float64, step: Float64) -> Float64:
        """The joints (J,) that come closest to one tool step (6,) from `joints`.

        The whole change is shortened, direction kept, where a joint would be too fast.
        """
        import mink

        place, turn = self.pose(joints)
        turned = Rotation.from_rotvec(step[3:]) * turn
        attitude = mink.SO3.from_matrix(turned.as_matrix())
        self._task.set_target(mink.SE3.from_rotation_and_translation(attitude, place + step[:3]))
        limits = [mink.ConfigurationLimit(self._model)]
        for _ in range(ROUNDS):
            velocity = mink.solve_ik(
                self._configuration, [self._task], self._dt, solver="daqp",
                damping=DAMPING, limits=limits,
            )  # fmt: skip
            self._configuration.integrate_inplace(velocity, self._dt)
        change = self._configuration.q[self._address] - joints
        change *= min(1.0, self._most / max(float(np.abs(change).max()), 1e-12))
        inside = np.clip(joints, *self._bounds)  # from outside: back, never further out
        return np.where(inside == joints, np.clip(joints + change, *self._bounds), joints + change)

    def _put(self, joints: Float64) -> None:
        q = self._configuration.q.copy()
        q[self._address] = joints
        self._configuration.update(q)
