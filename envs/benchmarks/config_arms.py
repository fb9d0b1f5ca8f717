"""Kitchen, LIBERO, ALOHA and Push-T as choices of `world`; nothing heavy before `build`."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from envs.benchmarks.config import BenchmarkConfig, check_image_size, require_package
from vla.embodiment import Embodiment
from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from envs.benchmarks.world import BenchmarkWorld

KITCHEN_TASKS = ("slide_cabinet", "light_switch", "burner", "hinge_cabinet", "microwave")
ALOHA_TASKS = ("transfer_cube", "insertion")
STEP_BUDGETS = {
    "libero_spatial": 280,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Ticks per episode by suite; OpenVLA's paper used 220 for Spatial."""

LIBERO_SUITES = {
    suite: tuple(f"{suite}/{number}" for number in range(90 if suite == "libero_90" else 10))
    for suite in STEP_BUDGETS
}


@dataclass(kw_only=True, slots=True)
class KitchenConfig(BenchmarkConfig):
    """Franka Kitchen: five subtasks, each from the closed kitchen. Extra `kitchen`.

    Attributes:
        tasks: "slide_cabinet", "light_switch", "burner", "hinge_cabinet", "microwave".
        image_size: pixels, square.
        start_noise: half width of the noise on the arm's start, radians; the scene itself
            never varies, so 0 makes every seed the same but for the encoders' noise.
    """

    kind: str = "kitchen"
    tasks: list[str] = field(default_factory=lambda: list(KITCHEN_TASKS))
    horizon: int = 280
    image_size: int = 224
    start_noise: float = 0.05

    def __post_init__(self) -> None:
        self.tasks = self.check({"all": KITCHEN_TASKS})
        check_image_size(self.image_size)
        if not 0 <= self.start_noise <= 0.3:
            raise ConfigError(f"start_noise is {self.start_noise}; give 0 to 0.3 rad.")

    def embodiment(self) -> Embodiment:
        """What `build` will offer."""
        require_package("gymnasium_robotics", "kitchen")
        from envs.benchmarks.kitchen import kitchen_embodiment

        return kitchen_embodiment(image_size=self.image_size, quality=self.quality)

    def build(self, task: str) -> "BenchmarkWorld":
        """The world of one subtask. Raises UnknownChoice, or ConfigError without the extra."""
        choose("task", task, dict.fromkeys(self.tasks))
        body = self.embodiment()
        from envs.benchmarks.kitchen import TASKS, KitchenSimulator
        from envs.benchmarks.world import BenchmarkWorld

        simulator = KitchenSimulator(
            task, cameras=body.cameras, quality=self.quality, start_noise=self.start_noise
        )
        words = TASKS[task][1]
        return BenchmarkWorld(simulator, body, task=task, instruction=words, horizon=self.horizon)


@dataclass(kw_only=True, slots=True)
class AlohaWorldConfig(BenchmarkConfig):
    """ALOHA in simulation: two arms, two tasks. Extra `aloha`.

    Attributes:
        tasks: "transfer_cube", "insertion".
        height, width: pixels; 480 x 640 in public data.
        horizon: 300 in gym-aloha, 400 in the paper.
    """

    kind: str = "aloha"
    tasks: list[str] = field(default_factory=lambda: list(ALOHA_TASKS))
    horizon: int = 300
    height: int = 480
    width: int = 640

    def __post_init__(self) -> None:
        self.tasks = self.check({"all": ALOHA_TASKS})
        check_image_size(self.height)
        check_image_size(self.width)

    def embodiment(self) -> Embodiment:
        """What `build` will offer."""
        from envs.benchmarks.aloha import aloha_embodiment

        return aloha_embodiment(height=self.height, width=self.width, quality=self.quality)

    def build(self, task: str) -> "BenchmarkWorld":
        """The world of one task. Raises UnknownChoice, or ConfigError without the extra."""
        choose("task", task, dict.fromkeys(self.tasks))
        require_package("gym_aloha", "aloha")
        from envs.benchmarks.aloha import TASKS, AlohaSimulator
        from envs.benchmarks.world import BenchmarkWorld

        body = self.embodiment()
        simulator = AlohaSimulator(task, cameras=body.cameras, quality=self.quality)
        return BenchmarkWorld(
            simulator, body, task=task, instruction=TASKS[task], horizon=self.horizon
        )


@dataclass(kw_only=True, slots=True)
class PushtWorldConfig(BenchmarkConfig):
    """Push-T; drawn in two dimensions, so `quality` changes nothing. Extra `pusht`.

    Attributes:
        tasks: "push_t".
        image_size: pixels, square; 96 in public data.
    """

    kind: str = "pusht"
    tasks: list[str] = field(default_factory=lambda: ["push_t"])
    horizon: int = 300
    image_size: int = 96

    def __post_init__(self) -> None:
        self.tasks = self.check({"all": ("push_t",)})
        check_image_size(self.image_size)

    def embodiment(self) -> Embodiment:
        """What `build` will offer."""
        from envs.benchmarks.pusht import pusht_embodiment

        return pusht_embodiment(image_size=self.image_size)

    def build(self, task: str) -> "BenchmarkWorld":
        """The world. Raises UnknownChoice, or ConfigError without the extra."""
        choose("task", task, dict.fromkeys(self.tasks))
        require_package("gym_pusht", "pusht")
        from envs.benchmarks.pusht import INSTRUCTION, PushtSimulator
        from envs.benchmarks.world import BenchmarkWorld

        simulator = PushtSimulator(image_size=self.image_size)
        return BenchmarkWorld(
            simulator, self.embodiment(), task=task, instruction=INSTRUCTION, horizon=self.horizon
        )


@dataclass(kw_only=True, slots=True)
class LiberoWorldConfig(BenchmarkConfig):
    """LIBERO's suites. Extra `libero`; its 206 MB of assets are the user's download.

    Attributes:
        tasks: suites ("libero_spatial", "libero_object", "libero_goal", "libero_10",
            "libero_90") or single tasks ("libero_goal/3").
        image_size: pixels, square; 256 in public data.
        quality: "full" only: the pictures are robosuite's own.
        horizon: 0 takes each suite's own budget.
    """

    kind: str = "libero"
    tasks: list[str] = field(
        default_factory=lambda: ["libero_spatial", "libero_object", "libero_goal", "libero_10"]
    )
    quality: str = "full"
    horizon: int = 0
    image_size: int = 256

    def __post_init__(self) -> None:
        if self.quality != "full":
            raise ConfigError("quality must be full: LIBERO's pictures are robosuite's own.")
        self.tasks = self.check(LIBERO_SUITES, least=0)
        check_image_size(self.image_size)

    def list_groups(self) -> dict[str, list[str]]:
        """The suites; the field's average is their mean."""
        groups = {suite: [t for t in self.tasks if t in names]
                  for suite, names in LIBERO_SUITES.items()}  # fmt: skip
        return {suite: tasks for suite, tasks in groups.items() if tasks}

    def embodiment(self) -> Embodiment:
        """What `build` will offer."""
        from envs.benchmarks.libero import libero_embodiment

        return libero_embodiment(image_size=self.image_size)

    def build(self, task: str) -> "BenchmarkWorld":
        """The world of one task. Raises UnknownChoice, or ConfigError without extra or assets."""
        choose("task", task, dict.fromkeys(self.tasks))
        require_package("libero", "libero")
        from envs.benchmarks.libero import build_simulator
        from envs.benchmarks.world import BenchmarkWorld

        suite, _, number = task.partition("/")
        found = find_spec("libero")
        package = Path(next(iter(found.submodule_search_locations or [""])) if found else "")
        simulator, words = build_simulator(
            suite, int(number), image_size=self.image_size, package=package
        )
        return BenchmarkWorld(
            simulator,
            self.embodiment(),
            task=task,
            instruction=words,
            horizon=self.horizon or STEP_BUDGETS[suite],
        )
