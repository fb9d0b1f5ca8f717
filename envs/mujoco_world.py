"""MujocoWorld: the tabletop scene and one task as a World."""

import mink
import mujoco
import numpy as np

from envs.arms import FINGER_TRAVEL
from envs.body import HZ, tabletop_embodiment
from envs.kinematics import DOWN, ArmKinematics
from envs.renderer import SceneRenderer
from envs.scene import SLOTS, TIMESTEP, arrange, build_model
from envs.task import Assignment, SceneState, Task
from vla.embodiment import Embodiment
from vla.errors import ContractError, ShapeError
from vla.types import Float32, Observation, Outcome

HOLD = 5
"""Ticks for which the success predicate must hold without a break."""

_BOX_LOW = np.array([0.28, -0.27, 0.012])
_BOX_HIGH = np.array([0.70, 0.27, 0.40])
_LEASH = 0.05
_TURN_LEASH = 0.3
_STEPS_PER_TICK = round(1.0 / (HZ * TIMESTEP))


class MujocoWorld:
    """The tabletop scene with one task.

    An action moves a target pose of the fingertips, which inverse kinematics turns into joint
    targets of the arm's position servos, reached in a straight line over one tick. Deltas add to
    the target, not to the measured pose, so that small ones are not lost to the servos' lag; the
    target is kept within 5 cm and 0.3 rad of the measured pose (it cannot wind up against an
    obstacle) and inside the workspace. Actions beyond the embodiment's bounds are clipped to them.

    Besides World's five methods there are `command`, `advance` and `observe`, for a caller with a
    clock of its own: `step(a)` is command(a), advance(1 / hz), observe().

    Args:
        task: what to do; see envs.tasks.
        image_size: pixels, square, of both cameras.
        quality: "fast" or "full" (shadows, anti-aliasing).
        paraphrase: vary the wording of instructions.

    Raises:
        RenderError: at the first picture, when no GL context opens.
    """

    def __init__(
        self, task: Task, *, image_size: int = 64, quality: str = "fast", paraphrase: bool = False
    ):
        self.task = task
        self.embodiment: Embodiment = tabletop_embodiment(image_size=image_size, quality=quality)
        self.model = build_model(quality)
        self.data = mujoco.MjData(self.model)
        self._paraphrase = paraphrase
        self._image_size = image_size
        self._renderer: SceneRenderer | None = None
        self._kinematics = ArmKinematics()
        self._index = _Index(self.model)
        self._low = np.array([axis.low for axis in self.embodiment.action], dtype=np.float32)
        self._high = np.array([axis.high for axis in self.embodiment.action], dtype=np.float32)
        self._assignment: Assignment | None = None

    # World

    def reset(self, *, seed: int) -> Observation:
        """Draw the scene and instruction of `seed` and put the arm at its start."""
        rng = np.random.default_rng(seed)
        self._assignment = self.task.sample(rng, paraphrase=self._paraphrase)
        mujoco.mj_resetData(self.model, self.data)
        arrange(self.model, self.data, self._assignment.layout)
        start = np.array(self._assignment.layout.start)
        self._target = mink.SE3.from_rotation_and_translation(DOWN, start)
        self._fingers = FINGER_TRAVEL
        joints = self._kinematics.reset(self._target)
        self.data.qpos[self._index.arm] = joints
        self.data.qpos[self._index.fingers] = FINGER_TRAVEL
        self._from = self._to = self._controls(joints)
        self.data.ctrl[:] = self._to
        self._ramp = self._physics_steps = self._held = self._ticks = 0
        self._debt = 0.0
        mujoco.mj_forward(self.model, self.data)
        return self.observe()

    def step(self, action: Float32) -> Observation:
        """See World; raises ShapeError on a wrong shape or a value that is not finite."""
        self.command(action)
        self.advance(1.0 / HZ)
        return self.observe()

    def outcome(self) -> Outcome:
        """Ended when success has held for 5 ticks, or at the task's horizon."""
        if self._held >= HOLD:
            return Outcome(success=True, ended=True, reason="the task is done")
        if self._ticks >= self.task.horizon:
            return Outcome(success=False, ended=True, reason="out of time")
        return Outcome(success=False, ended=False)

    def close(self) -> None:
        """Free the GL context; idempotent."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # Finer steps

    def command(self, action: Float32) -> None:
        """Move the target by `action` (7,); nothing moves until `advance`."""
        action = self._check(action)
        measured = self.tool_pose()
        move = self._target.translation() + action[:3]
        position = measured.translation() + np.clip(move - measured.translation(), -_LEASH, _LEASH)
        turned = mink.SO3.exp(action[3:6]) @ self._target.rotation()
        lead = (turned @ measured.rotation().inverse()).log()
        angle = np.linalg.norm(lead)
        if angle > _TURN_LEASH:
            turned = mink.SO3.exp(lead * (_TURN_LEASH / angle)) @ measured.rotation()
        self._target = mink.SE3.from_rotation_and_translation(
            turned, np.clip(position, _BOX_LOW, _BOX_HIGH)
        )
        self._fingers = FINGER_TRAVEL if action[6] > 0.5 else 0.0
        self._from = self.data.ctrl.copy()
        self._to = self._controls(self._kinematics.follow(self._target))
        self._ramp = 0

    def advance(self, seconds: float) -> None:
        """Let `seconds` of physics pass; what is less than one 2.5 ms step is kept for later."""
        self._require_episode()
        self._debt += seconds
        steps = int(self._debt / TIMESTEP + 1e-6)
        self._debt -= steps * TIMESTEP
        for _ in range(steps):
            self._ramp += 1
            share = min(1.0, self._ramp / _STEPS_PER_TICK)
            self.data.ctrl[:] = self._from + share * (self._to - self._from)
            mujoco.mj_step(self.model, self.data)
            self._physics_steps += 1
            if self._physics_steps % _STEPS_PER_TICK == 0:
                self._count_tick()
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def observe(self) -> Observation:
        """The present observation (T == 1), stamped with the time since the reset."""
        assignment = self._require_episode()
        if self._renderer is None:
            size = self._image_size
            self._renderer = SceneRenderer(self.model, height=size, width=size)
        images = {
            name: self._renderer.render(self.data, name)[None] for name in self.embodiment.cameras
        }
        pose = self.tool_pose()
        opening = self._opening()
        state = np.concatenate(
            [
                self.data.qpos[self._index.arm],
                pose.translation(),
                (pose.rotation() @ DOWN.inverse()).log(),
                [opening],
            ]
        )
        return Observation(
            images=images,
            state=state.astype(np.float32)[None],
            instruction=assignment.instruction,
            time=float(self.data.time),
        )

    # Privileged

    @property
    def assignment(self) -> Assignment:
        """The running episode's scene and words. Raises ContractError before the first reset."""
        return self._require_episode()

    def scene_state(self) -> SceneState:
        """The truth about the scene now; for predicates and experts."""
        pose = self.tool_pose()
        quats = self.data.qpos[self._index.objects[:, 3:]]
        w, x, y, z = quats.T
        touches = self._touches()
        return SceneState(
            tool=pose.translation(),
            rotation=(pose.rotation() @ DOWN.inverse()).log(),
            opening=self._opening(),
            things=self.data.qpos[self._index.objects[:, :3]],
            yaws=np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
            touched=touches.any(axis=1),
            held=touches[:, 1] & touches[:, 2],
        )

    def labels(self) -> dict[str, Float32]:
        """Where the named object ("target") and destination ("goal") are in the front picture.

        Each float32 (2,): u to the right and v downwards, -1 and 1 at the picture's edges. Where
        a task names no destination, "goal" equals "target".
        """
        assignment = self._require_episode()
        target = self.data.qpos[self._index.objects[assignment.target, :3]]
        goal = assignment.goal
        point = target if np.isnan(goal).any() else np.array([*goal, 0.0])
        return {"target": self.project(target), "goal": self.project(point)}

    def project(self, point: np.ndarray) -> Float32:
        """Normalised (u, v), float32 (2,), of a point (3,) in metres in the front picture."""
        camera = self.data.camera("front")
        x, y, z = camera.xmat.reshape(3, 3).T @ (point - camera.xpos)
        reach = np.tan(np.deg2rad(self.model.camera("front").fovy[0]) / 2) * -z
        return np.array([x / reach, -y / reach], dtype=np.float32)

    def progress(self) -> dict[str, float]:
        """The task's own measures of how far it is."""
        return self.task.progress(self.scene_state(), self._require_episode())

    def swapped_instruction(self) -> str:
        """A sentence of the same kind that names another object of this scene."""
        return self.task.swapped_instruction(self._require_episode())

    def tool_pose(self) -> mink.SE3:
        """Measured pose of the fingertip frame in the base frame."""
        site = self.data.site(self._index.pinch)
        return mink.SE3.from_rotation_and_translation(
            mink.SO3.from_matrix(site.xmat.reshape(3, 3)), site.xpos.copy()
        )

    # Inside

    def _controls(self, joints: np.ndarray) -> np.ndarray:
        return np.array([*joints, self._fingers, self._fingers])

    def _opening(self) -> float:
        return float(np.clip(self.data.qpos[self._index.fingers].sum() / (2 * FINGER_TRAVEL), 0, 1))

    def _touches(self) -> np.ndarray:
        """Bool (3 objects, 3): does the hand, the left finger, the right finger touch it now."""
        touches = np.zeros((SLOTS, 3), dtype=bool)
        for pair in self.model.geom_bodyid[self.data.contact.geom]:
            thing, toucher = sorted(pair)
            if thing in self._index.bodies and toucher in self._index.gripper:
                touches[self._index.bodies.index(thing), self._index.gripper.index(toucher)] = True
        return touches

    def _count_tick(self) -> None:
        done = self.task.success(self.scene_state(), self._require_episode())
        # Once held long enough it stays so: the episode has ended.
        self._held = self._held + 1 if done or self._held >= HOLD else 0
        self._ticks += 1

    def _check(self, action: Float32) -> Float32:
        self._require_episode()
        if not isinstance(action, np.ndarray) or action.shape != self._low.shape:
            shape = getattr(action, "shape", type(action).__name__)
            raise ShapeError(f"The action is {shape}; this world takes an array of (7,).")
        if not np.isfinite(action).all():
            raise ShapeError(f"The action holds NaN or inf: {action.tolist()}.")
        return np.clip(action, self._low, self._high).astype(np.float64)

    def _require_episode(self) -> Assignment:
        if self._assignment is None:
            raise ContractError("No episode has begun; call reset(seed=...) first.")
        return self._assignment


class _Index:
    """Where things are in the model's and data's arrays."""

    def __init__(self, model: mujoco.MjModel):
        address = model.jnt_qposadr
        self.arm = np.array([address[model.joint(f"joint{i + 1}").id] for i in range(7)])
        fingers = ("finger_left", "finger_right")
        self.fingers = np.array([address[model.joint(name).id] for name in fingers])
        starts = [address[model.joint(f"object{slot}").id] for slot in range(SLOTS)]
        self.objects = np.array(starts)[:, None] + np.arange(7)
        self.bodies = [model.body(f"object{slot}").id for slot in range(SLOTS)]
        # Objects come before the gripper in the model (see scene.py), which _touches relies on.
        self.gripper = [model.body(name).id for name in ("hand", *fingers)]
        self.pinch = model.site("pinch").id
