"""Meta-World as a choice of `world`, and what all benchmarks ask; `build` imports the rest."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from envs.benchmarks.metaworld_tasks import DIFFICULTIES, SUITES, TASKS, find_instruction
from envs.config import QUALITIES, WorldConfig
from vla.embodiment import Embodiment
from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from envs.benchmarks.demonstrations import Demonstrator
    from envs.benchmarks.world import BenchmarkWorld


@dataclass(kw_only=True, slots=True)
class BenchmarkConfig(WorldConfig):
    """What all public benchmarks ask.

    Attributes:
        tasks: public names, or names that stand for several.
        quality: "fast" (no shadows, no anti-aliasing) or "full" (as the benchmark's files say);
            part of the cameras' contract.
        horizon: ticks after which an episode has failed.
    """

    quality: str = "fast"
    horizon: int = 500

    def check(self, suites: dict[str, tuple[str, ...]], *, least: int = 1) -> list[str]:
        """`tasks` with the names of `suites` spelled out, each once.

        Raises ConfigError for unknown names, or a horizon below `least`.
        """
        choose("quality", self.quality, dict.fromkeys(QUALITIES))
        if self.horizon < least:
            raise ConfigError(f"horizon is {self.horizon}; give at least {least} ticks.")
        known = dict.fromkeys((*suites, *(task for tasks in suites.values() for task in tasks)))
        for name in self.tasks:
            choose("task", name, known)
        tasks = [task for name in self.tasks for task in suites.get(name, (name,))]
        if not tasks:
            raise ConfigError(f"tasks is empty; name some of {', '.join(known)}.")
        return list(dict.fromkeys(tasks))

    def find_expert(self, task: str) -> "Demonstrator":
        """Who can demonstrate `task`. Raises ConfigError when nobody can."""
        raise ConfigError(
            f"world={self.kind} has no scripted expert; convert demonstrations that you have "
            "(`vla convert --help`)."
        )


def require_package(module: str, extra: str) -> None:
    """Raise ConfigError, naming the extra, when `module` is not installed."""
    if find_spec(module) is None:
        raise ConfigError(f"{module} is not installed: pip install 'vla-stack[{extra}]'.")


def check_image_size(size: int) -> None:
    """Raise ConfigError for a size that makes no sense."""
    if not 16 <= size <= 1024:
        raise ConfigError(f"image_size is {size}; give 16 to 1024 pixels.")


WORDS = ("distinct", "lerobot")


@dataclass(kw_only=True, slots=True)
class MetaworldConfig(BenchmarkConfig):
    """Meta-World v3: fifty tasks of one Sawyer hand. Extra `metaworld`.

    Success is the benchmark's own verdict at any tick within `horizon`.

    Attributes:
        tasks: "push-v3", ... or "mt10", "mt50", "easy", "medium", "hard", "very_hard".
        image_size: pixels, square.
        cameras: "corner2" is the field's (moved and turned as LeRobot does).
        words: "distinct" or "lerobot", see `metaworld_tasks.find_instruction`.
        horizon: 500 in LeRobot; Evo-1 reports 400.
    """

    kind: str = "metaworld"
    tasks: list[str] = field(default_factory=lambda: ["mt10"])
    image_size: int = 224
    cameras: list[str] = field(default_factory=lambda: ["corner2"])
    words: str = "distinct"

    def __post_init__(self) -> None:
        self.tasks = self.check(SUITES)
        check_image_size(self.image_size)
        choose("words", self.words, dict.fromkeys(WORDS))
        places = ("corner2", "corner", "corner3", "topview", "behindGripper", "gripperPOV")
        for name in self.cameras:
            choose("camera", name, dict.fromkeys(places))
        if not self.cameras:
            raise ConfigError(f"cameras is empty; name some of {', '.join(places)}.")

    def list_groups(self) -> dict[str, list[str]]:
        """The difficulty groups of which tasks were chosen."""
        groups = {level: [t for t in self.tasks if TASKS[t][0] == level] for level in DIFFICULTIES}
        return {level: tasks for level, tasks in groups.items() if tasks}

    def embodiment(self) -> Embodiment:
        """What `build` will offer."""
        from envs.benchmarks.metaworld import metaworld_embodiment

        return metaworld_embodiment(
            cameras=self.cameras, image_size=self.image_size, quality=self.quality
        )

    def build(self, task: str) -> "BenchmarkWorld":
        """The world of one task. Raises UnknownChoice, or ConfigError without the extra."""
        choose("task", task, dict.fromkeys(self.tasks))
        require_package("metaworld", "metaworld")
        from envs.benchmarks.metaworld import MetaworldSimulator
        from envs.benchmarks.world import BenchmarkWorld

        body = self.embodiment()
        return BenchmarkWorld(
            MetaworldSimulator(task, cameras=body.cameras, quality=self.quality),
            body,
            task=task,
            instruction=find_instruction(task, self.words),
            horizon=self.horizon,
        )

    def find_expert(self, task: str) -> "Demonstrator":
        """The package's own scripted policy."""
        from envs.benchmarks.metaworld import MetaworldExpert

        return MetaworldExpert(task)
