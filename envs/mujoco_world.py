"""MujocoWorld: the tabletop scene and one task as a World."""

from collections.abc import Sequence
from dataclasses import replace

import mink
import mujoco
import numpy as np

from envs.arms import load_arm
from envs.body import CAMERAS, HZ, tabletop_embodiment
from envs.drive import build_drive
from envs.kinematics import DOWN, ArmKinematics
from envs.past import Chronicle, count_wrong_grasps
from envs.scene import TIMESTEP, arrange, build_scene, light_lamps
from envs.scene_reader import SceneReader
from envs.task import Assignment, SceneState, Task
from envs.view import SceneView
from vla.embodiment import Embodiment
from vla.errors import ContractError, ShapeError
from vla.types import Float32, Observation, Outcome

HOLD = 5
"""Ticks for which the success predicate must hold without a break."""

_STEPS_PER_TICK = round(1.0 / (HZ * TIMESTEP))


class MujocoWorld:
    """The tabletop scene with one task.

    An action becomes joint targets of the arm's position servos (see envs.drive), reached in a
    straight line over one tick. Actions beyond the embodiment's bounds are clipped to them.

    Pictures are drawn when they are looked at (see envs.view): a policy that executes four rows of
    a plan looks at one frame in four.

    Besides World's five methods there are `command`, `advance` and `observe`, for a caller with a
    clock of its own: `step(a)` is command(a), advance(1 / hz), observe().

    Args:
        task: what to do; see envs.tasks.
        image_size: pixels, square, of every camera.
        quality: "fast" or "full" (shadows, anti-aliasing).
        paraphrase: vary the wording of instructions.
        cameras: names among "front", "wrist" and "side".
        arm: see envs.arms.
        action: "delta" or "joint", see envs.drive.

    Raises:
        RenderError: at the first picture, when no GL context opens.
    """

    def __init__(
        self,
        task: Task,
        *,
        image_size: int = 64,
        quality: str = "fast",
        paraphrase: bool = False,
        cameras: Sequence[str] = CAMERAS,
        arm: str = "primitive",
        action: str = "delta",
    ):
        self.task = task
        self.embodiment: Embodiment = tabletop_embodiment(
            image_size=image_size, quality=quality, cameras=cameras, arm=arm, action=action
        )
        self._arm = load_arm(arm)
        self.model = self._build_scene(quality).compile()
        self.data = mujoco.MjData(self.model)
        self._paraphrase = paraphrase
        names = self.embodiment.cameras
        self._view = SceneView(
            self.model, self.data, cameras=names, views={n: n for n in names}, quality=quality
        )
        self._drive = build_drive(action, ArmKinematics(self._arm))
        scenery = task.scenery
        self._reader = SceneReader(
            self.model,
            self.data,
            arm=self._arm,
            slots=scenery.slots,
            fixtures=len(scenery.fixtures),
        )
        self._low = np.array([axis.low for axis in self.embodiment.action], dtype=np.float32)
        self._high = np.array([axis.high for axis in self.embodiment.action], dtype=np.float32)
        self._assignment: Assignment | None = None

    # World

    def reset(self, *, seed: int) -> Observation:
        """Draw the scene and instruction of `seed` and put the arm at its start."""
        self._view.settle()
        self._assignment = self._draw(seed)
        mujoco.mj_resetData(self.model, self.data)
        self._arrange(self._assignment)
        joints = self._drive.start(self._start(self._assignment))
        self._fingers = self._arm.open_control
        self.data.qpos[self._reader.arm] = joints
        self.data.qpos[self._reader.fingers] = self._arm.open_at
        self._from = self._to = self._controls(joints)
        self.data.ctrl[:] = self._to
        self._ramp = self._physics_steps = self._held = self._ticks = 0
        self._debt = 0.0
        self._chronicle = Chronicle(self._assignment.layout)
        mujoco.mj_forward(self.model, self.data)
        return self.observe()

    def step(self, action: Float32) -> Observation:
        """See World; raises ShapeError on a wrong shape or a value that is not finite."""
        self.command(action)
        self.advance(1.0 / HZ)
        return self.observe()

    def outcome(self) -> Outcome:
        """Ended when success has held for 5 ticks, or at the task's horizon."""
        self._require_episode()
        if self._held >= HOLD:
            return Outcome(success=True, ended=True, reason="the task is done")
        if self._ticks >= self.task.horizon:
            return Outcome(success=False, ended=True, reason="out of time")
        return Outcome(success=False, ended=False)

    def close(self) -> None:
        """Free the GL context; idempotent."""
        self._view.close()

    # Finer steps

    def command(self, action: Float32) -> None:
        """Set joint targets from `action` (A,); nothing moves until `advance`."""
        action = self._check(action)
        joints = self._drive.plan(action[:-1], self._reader.tool())
        self._fingers = self._arm.open_control if action[-1] > 0.5 else self._arm.shut_control
        self._from = self.data.ctrl.copy()
        self._to = self._controls(joints)
        self._ramp = 0

    def advance(self, seconds: float) -> None:
        """Let `seconds` of physics pass; what is less than one 2.5 ms step is kept for later."""
        self._require_episode()
        self._view.keep()
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
        return Observation(
            images=self._view.look(),
            state=self.measure()[None],
            instruction=assignment.instruction,
            time=float(self.data.time),
        )

    def measure(self) -> Float32:
        """The present state (14,), without pictures; quick enough for every physics step."""
        tool = self._reader.tool()
        parts = [
            self._reader.joints(),
            tool.translation(),
            self._reader.rotation(tool),
            [self._reader.opening()],
        ]
        return np.concatenate(parts, dtype=np.float32)

    def still(self) -> Float32:
        """The action (A,) that changes nothing, fingers open."""
        return np.append(self._drive.still(), 1.0).astype(np.float32)

    # Privileged

    @property
    def assignment(self) -> Assignment:
        """The running episode's scene and words. Raises ContractError before the first reset."""
        return self._require_episode()

    def scene_state(self) -> SceneState:
        """The truth about the scene now; for predicates and experts."""
        self._require_episode()
        return replace(self._reader.state(), past=self._chronicle.past)

    def express(self, delta: Float32) -> Float32:
        """What an expert's `delta` (7,) is as an action (A,) of this world."""
        action = self._drive.express(delta[:6].astype(np.float64), self._reader.tool())
        return np.append(action, delta[6]).astype(np.float32)

    def labels(self) -> dict[str, Float32]:
        """Where the named object ("target") and destination ("goal") are, for auxiliary losses.

        Each name alone is float32 (2,): u to the right and v downwards in the front picture, -1
        and 1 at its edges. With "_offset" it is float32 (3,): from the fingertips to the thing,
        base frame, tenths of a metre (of the size of the other labels). Where a task names no
        destination, the goal equals the target.
        """
        assignment = self._require_episode()
        if assignment.target is None:
            target = np.array([assignment.stand.x, assignment.stand.y, 0.03])
        else:
            target = self._reader.things()[assignment.target]
        goal = assignment.goal
        point = target if np.isnan(goal).any() else np.array([*goal, 0.0])
        tool = self._reader.tool().translation()
        return {
            "target": self._reader.project(target, "front"),
            "goal": self._reader.project(point, "front"),
            "target_offset": (10.0 * (target - tool)).astype(np.float32),
            "goal_offset": (10.0 * (point - tool)).astype(np.float32),
        }

    def progress(self) -> dict[str, float]:
        """The task's own measures of how far it is."""
        return self.task.progress(self.scene_state(), self._require_episode())

    def figures(self) -> dict[str, float]:
        """Counts of the episode so far: "wrong_grasps", see `envs.past.count_wrong_grasps`."""
        return {"wrong_grasps": count_wrong_grasps(self._chronicle.past, self.assignment)}

    def swapped_instruction(self) -> str:
        """A sentence of the same kind that names another object of this scene."""
        return self.task.swapped_instruction(self._require_episode())

    # Inside

    # The first four are what a perturbed world does otherwise (envs.perturbations.world).

    def _build_scene(self, quality: str) -> mujoco.MjSpec:
        return build_scene(quality, self.task.scenery, self._arm)

    def _draw(self, seed: int) -> Assignment:
        return self.task.sample(np.random.default_rng(seed), paraphrase=self._paraphrase)

    def _arrange(self, assignment: Assignment) -> None:
        arrange(self.model, self.data, assignment.layout)

    def _start(self, assignment: Assignment) -> mink.SE3:
        return mink.SE3.from_rotation_and_translation(DOWN, np.array(assignment.layout.start))

    def _controls(self, joints: np.ndarray) -> np.ndarray:
        return np.concatenate([joints, np.full(self.model.nu - joints.size, self._fingers)])

    def _count_tick(self) -> None:
        if self.outcome().ended:
            return
        before = self._chronicle.past.presses
        self._chronicle.add(self._reader.state())
        for index, count in enumerate(self._chronicle.past.presses):
            if count != before[index]:
                self._view.settle()
                light_lamps(self.model, index, count)
        done = self.task.success(self.scene_state(), self._require_episode())
        self._held = self._held + 1 if done else 0
        self._ticks += 1

    def _check(self, action: Float32) -> Float32:
        self._require_episode()
        if not isinstance(action, np.ndarray) or action.shape != self._low.shape:
            shape = getattr(action, "shape", type(action).__name__)
            raise ShapeError(
                f"The action is {shape}; this world takes an array of {self._low.shape}."
            )
        if not np.isfinite(action).all():
            raise ShapeError(f"The action holds NaN or inf: {action.tolist()}.")
        return np.clip(action, self._low, self._high).astype(np.float64)

    def _require_episode(self) -> Assignment:
        if self._assignment is None:
            raise ContractError("No episode has begun; call reset(seed=...) first.")
        return self._assignment
