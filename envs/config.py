"""Which world to build, as plain data; nothing heavy is imported before `build`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from envs.body import ACTIONS, ALL_CAMERAS, ARMS, CAMERAS
from envs.splits import HELD_OUT_TASKS, SPLITS
from vla.contract import World
from vla.embodiment import Embodiment
from vla.errors import ConfigError, RenderError, choose
from vla.evaluation.config import ALL_AXES, AXIS_LEVELS, split_axis

CLASSIC = ("reach", "push", "lift", "place")
SUITE = (
    "pick", "bowl", "plate", "stack", "region", "relation", "comparison", "collect", "order",
    "drawer", "stow", "button", "knob", "peg", "swap", "exclude",
)  # fmt: skip
"""The sixteen templates, see docs/tasks.md; `world=tabletop16` names them all."""
TASKS = (*CLASSIC, *SUITE)
QUALITIES = ("fast", "full")
INSTRUCTIONS = ("given", "blank", "swapped", "paraphrased", "permuted")
AXES = (
    "camera", "light", "texture", "object_colour", "sensor_noise", "visual_matching",
    "distractors", "layout", "object_swap", "start_pose", "dynamics", "instruction",
)  # fmt: skip
"""Perturbation axes, see envs.perturbations (which needs MuJoCo, as this module must not)."""


@dataclass(kw_only=True, slots=True)
class WorldConfig:
    """Base of all worlds.

    Attributes:
        tasks: what can be built.
    """

    kind: str = ""
    tasks: list[str] = field(default_factory=list)

    def embodiment(self) -> Embodiment:
        """What `build` will offer."""
        raise ConfigError("No world is chosen; give e.g. world=tabletop.")

    def build(self, task: str) -> World:
        """The world of one task."""
        raise ConfigError("No world is chosen; give e.g. world=tabletop.")

    def list_conditions(self, names: Sequence[str]) -> list[str]:
        """`names` with presets spelled out. Raises ConfigError when this world has no such one."""
        if list(names) != ["given"]:
            raise ConfigError(
                f"world={self.kind} cannot change its instructions or its scenes; "
                "give evaluation.conditions=[given]."
            )
        return ["given"]

    def list_groups(self) -> dict[str, list[str]]:
        """Groups of tasks that the field reports on, e.g. by difficulty; may be empty."""
        return {}

    def under(self, condition: str) -> Self:
        """The same world under one of `list_conditions`."""
        self.list_conditions([condition])
        return self


@dataclass(kw_only=True, slots=True)
class TabletopConfig(WorldConfig):
    """The native suite: one scene, several tasks told apart by their words.

    Attributes:
        tasks: names of tasks, see `envs.tasks`.
        split: which combinations of words turn up, see docs/tasks.md: "all", "known", "train",
            "compositional", "unseen" or "unseen_task"; the four classic tasks know "all" only.
        image_size: pixels, square, of every camera.
        cameras: some of "front", "wrist" and "side".
        arm: "primitive", or "panda" (meshes and gripper from the extra of that name).
        action: "delta" moves the fingertips' target, "joint" gives joint positions.
        quality: "fast" (no shadows) or "full"; it is part of the cameras' contract.
        instruction: "given", or to measure how far a policy listens, "blank", "swapped" (another
            object), "paraphrased" or "permuted" (the words of the next task in `tasks`).
        paraphrase: vary the wording of instructions.
        perturbation: "" or "AXIS:LEVEL", e.g. "light:3": the scenes changed along one of the
            axes in docs/perturbations.md, from 1 (mild) to 5 (severe).
    """

    kind: str = "tabletop"
    tasks: list[str] = field(default_factory=lambda: list(CLASSIC))
    split: str = "all"
    image_size: int = 96
    quality: str = "fast"
    cameras: list[str] = field(default_factory=lambda: list(CAMERAS))
    arm: str = "primitive"
    action: str = "delta"
    instruction: str = "given"
    paraphrase: bool = False
    perturbation: str = ""

    def __post_init__(self) -> None:
        for task in self.tasks:
            choose("task", task, dict.fromkeys(TASKS))
        if not self.tasks:
            raise ConfigError(f"tasks is empty; name some of {', '.join(TASKS)}.")
        choose("quality", self.quality, dict.fromkeys(QUALITIES))
        choose("split", self.split, dict.fromkeys(SPLITS))
        choose("arm", self.arm, ARMS)
        choose("action", self.action, dict.fromkeys(ACTIONS))
        for camera in self.cameras:
            choose("camera", camera, dict.fromkeys(ALL_CAMERAS))
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise ConfigError(f"cameras is {self.cameras}; name each once, and at least one.")
        self._check_split()
        choose("instruction", self.instruction, dict.fromkeys(INSTRUCTIONS))
        if self.instruction == "permuted" and len(self.tasks) < 2:
            raise ConfigError("instruction=permuted needs two tasks or more to exchange words.")
        if not 16 <= self.image_size <= 1024:
            raise ConfigError(f"image_size is {self.image_size}; give 16 to 1024 pixels.")
        if self.perturbation:
            axis, _ = split_axis(self.perturbation)
            choose("perturbation axis", axis, dict.fromkeys(AXES))

    def _check_split(self) -> None:
        if self.split == "all":
            return
        held_out = self.split == "unseen_task"
        every = self.split == "known"
        allowed = [task for task in SUITE if every or (task in HELD_OUT_TASKS) == held_out]
        wrong = [task for task in self.tasks if task not in allowed]
        if wrong:
            raise ConfigError(
                f"split={self.split} has no {', '.join(wrong)}; "
                f"give tasks=[{','.join(task for task in self.tasks if task in allowed) or '...'}] "
                f"out of {', '.join(allowed)}."
            )

    def list_conditions(self, names: Sequence[str]) -> list[str]:
        """See WorldConfig; "axes" is every axis at every level, "axes:3" every axis at level 3."""
        found: list[str] = []
        for name in names:
            if name in INSTRUCTIONS:
                found.append(name)
                continue
            axis, levels = ALL_AXES, AXIS_LEVELS
            if name != ALL_AXES:
                axis, level = split_axis(name)
                levels = (level,)
            axes = AXES if axis == ALL_AXES else (axis,)
            found += [f"{axis}:{level}" for axis in axes for level in levels]
        for name in found:
            self.under(name)
        return list(dict.fromkeys(found))

    def under(self, condition: str) -> Self:
        """See WorldConfig. Raises UnknownChoice on an unknown axis."""
        if condition in INSTRUCTIONS:
            return replace(self, instruction=condition)
        return replace(self, perturbation=condition)

    def embodiment(self) -> Embodiment:
        """What `build` will offer; needs no GL."""
        from envs.body import tabletop_embodiment

        return tabletop_embodiment(
            image_size=self.image_size,
            quality=self.quality,
            cameras=self.cameras,
            arm=self.arm,
            action=self.action,
        )

    def build(self, task: str) -> World:
        """The world of one task. Raises UnknownChoice, or RenderError when MuJoCo finds no GL."""
        choose("task", task, dict.fromkeys(self.tasks))
        try:
            import mujoco  # noqa: F401  (it loads the GL library named by MUJOCO_GL)
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            from envs.body import GL_REMEDY

            raise RenderError(f"MuJoCo does not load ({error}). {GL_REMEDY}") from error
        from envs.instructions import BlankInstruction, PermutedInstruction, SwappedInstruction
        from envs.mujoco_world import MujocoWorld
        from envs.tasks import load_task

        options = {
            "image_size": self.image_size,
            "quality": self.quality,
            "paraphrase": self.paraphrase or self.instruction == "paraphrased",
            "cameras": self.cameras,
            "arm": self.arm,
            "action": self.action,
        }
        chosen = load_task(task, self.split)
        if self.perturbation:
            from envs.perturbations import load_perturbation
            from envs.perturbations.world import PerturbedWorld

            perturbation = load_perturbation(*split_axis(self.perturbation))
            world = PerturbedWorld(chosen, perturbation=perturbation, **options)
        else:
            world = MujocoWorld(chosen, **options)
        if self.instruction == "permuted":
            following = self.tasks[(self.tasks.index(task) + 1) % len(self.tasks)]
            return PermutedInstruction(world, load_task(following, self.split))
        wrappers = {"blank": BlankInstruction, "swapped": SwappedInstruction}
        wrapper = wrappers.get(self.instruction)
        return world if wrapper is None else wrapper(world)


@dataclass(kw_only=True, slots=True)
class GymWorldConfig(WorldConfig):
    """A Gymnasium environment by its id; see `envs.gym_world.GymWorld` for the fields' meaning.

    Attributes:
        tasks: Gymnasium ids, "module:Namespace/Name-v0" to have a module imported first.
        cameras: per camera the key of its picture in the observation, or "render".
        state: key of the state vector; "" when the observation is the vector.
        instruction: key of the text in the observation, or the text.
        success: key in `info`.
        hz: control rate.
        horizon: ticks after which an environment that has no time limit of its own is ended.
        options: keyword arguments for `gymnasium.make`.
    """

    kind: str = "gym"
    tasks: list[str] = field(default_factory=list)
    cameras: dict[str, str] = field(default_factory=lambda: {"front": "render"})
    state: str = ""
    instruction: str = "instruction"
    success: str = "is_success"
    hz: float = 20.0
    horizon: int = 1000
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("tasks is empty; name at least one Gymnasium id.")
        if not self.cameras:
            raise ConfigError('cameras is empty; name at least one, e.g. {"front": "render"}.')
        if not self.hz > 0:
            raise ConfigError(f"hz is {self.hz}; it must be positive.")
        if self.horizon < 1:
            raise ConfigError(f"horizon is {self.horizon}; give at least one tick.")

    def embodiment(self) -> Embodiment:
        """What `build` will offer; it builds the first task's environment to find out."""
        world = self.build(self.tasks[0])
        world.close()
        return world.embodiment

    def build(self, task: str) -> World:
        """The world of one id. Raises UnknownChoice, or ConfigError when Gymnasium has none."""
        choose("task", task, dict.fromkeys(self.tasks))
        import gymnasium

        from envs.gym_world import RENDER, GymWorld

        options = dict(self.options)
        if RENDER in self.cameras.values():
            options.setdefault("render_mode", "rgb_array")
        try:
            env = gymnasium.make(task, **options)
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            raise ConfigError(f"Gymnasium does not make {task!r}: {error}") from error
        if env.spec is None or env.spec.max_episode_steps is None:
            env = gymnasium.wrappers.TimeLimit(env, self.horizon)
        return GymWorld(
            env,
            name=task,
            cameras=self.cameras,
            state=self.state,
            instruction=self.instruction,
            success=self.success,
            hz=self.hz,
        )
