"""Options of an evaluation."""

import re
from dataclasses import dataclass, field

from vla.errors import ConfigError, UnknownChoice, choose

CONDITIONS = ("given", "blank", "swapped", "paraphrased", "permuted")
LAUNCHERS = ("local", "ray")
ALL_AXES = "axes"
"""Stands for every axis of the world, alone for all levels too."""
AXIS_LEVELS = (1, 2, 3, 4, 5)
EVALUATION_SEEDS = 1_000_000
"""Evaluation seeds start here; demonstrations are recorded from seeds below."""


@dataclass(kw_only=True, slots=True)
class EvaluationConfig:
    """How often, how long and on which seeds a policy is tried.

    Attributes:
        episodes: per task and condition.
        first_seed: seeds are first_seed, first_seed + 1, ... ; from 1_000_000 on, so that
            they never meet the seeds of demonstrations.
        workers: processes that run one world each; more than cores hides waiting.
        batch: every inference is padded to this many observations, so that a result does
            not depend on how many workers there were. Part of what is measured.
        inference_threads: CPU threads of the policy; 0 leaves them as they are.
        max_steps: control ticks after which an episode is stopped as a failure; 0 leaves it to
            the world, whose own limit is the benchmark's or the task's.
        videos: successes and failures to film, each, per task; 0 for none.
        conditions: what to run on the same seeds (see `compare_conditions`): "given", "blank",
            "swapped", "paraphrased" (other wordings), "permuted" (another task's words);
            "AXIS:LEVEL", e.g. "light:3", for a scene perturbed along one axis; "axes:3" for every
            axis at one level and "axes" for every axis at every level.
        against: folder of a finished run of `vla eval` on the same scenes; a task is stopped as
            soon as it is sure which of the two is better there (see `early`). A task that was
            stopped has a biased rate; its verdict is what counts. "": all episodes are run.
        alpha: chance of naming any false winner against that run.
        launcher: "local", or "ray": shards of episodes on a cluster, without films.
        address: of a running Ray cluster, e.g. "auto"; "": one on this machine.
    """

    episodes: int = 50
    first_seed: int = EVALUATION_SEEDS
    workers: int = 2
    batch: int = 2
    inference_threads: int = 0
    max_steps: int = 0
    videos: int = 2
    conditions: list[str] = field(default_factory=lambda: ["given"])
    against: str = ""
    alpha: float = 0.05
    launcher: str = "local"
    address: str = ""

    def __post_init__(self) -> None:
        choose("evaluation launcher", self.launcher, dict.fromkeys(LAUNCHERS))
        for name in ("episodes", "workers", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluation.{name} is {getattr(self, name)}; give at least 1.")
        for name in ("inference_threads", "max_steps", "videos"):
            if getattr(self, name) < 0:
                raise ConfigError(f"evaluation.{name} is {getattr(self, name)}; give 0 or more.")
        if self.first_seed < EVALUATION_SEEDS:
            raise ConfigError(
                f"evaluation.first_seed is {self.first_seed}: seeds below {EVALUATION_SEEDS} "
                "belong to demonstrations, and a policy must not be tried on what it has seen."
            )
        for name in self.conditions:
            if name not in (*CONDITIONS, ALL_AXES) and not is_axis(name):
                known = (*CONDITIONS, ALL_AXES, "AXIS:LEVEL")
                raise UnknownChoice("evaluation condition", name, known)
        if len(set(self.conditions)) != len(self.conditions) or not self.conditions:
            raise ConfigError("evaluation.conditions must name each condition once, at least one.")
        if "given" not in self.conditions and not set(self.conditions) <= set(CONDITIONS):
            raise ConfigError(
                "evaluation.conditions names axes without what they are measured against; "
                "add given."
            )

        if self.against and (self.conditions != ["given"] or self.launcher != "local"):
            raise ConfigError(
                "evaluation.against stops tasks of a single local run early; give "
                "conditions=[given] and launcher=local with it."
            )
        if not 0 < self.alpha < 1:
            raise ConfigError(f"evaluation.alpha is {self.alpha}; it must lie between 0 and 1.")

    def list_seeds(self) -> list[int]:
        """The seeds of every task and condition."""
        return list(range(self.first_seed, self.first_seed + self.episodes))


def is_axis(condition: str) -> bool:
    """Whether a condition has the form "AXIS:LEVEL"; the world knows which axes there are."""
    return re.fullmatch(r"[a-z_]+:[1-5]", condition) is not None


def split_axis(condition: str) -> tuple[str, int]:
    """("light", 3) of "light:3". Raises ConfigError on another form."""
    if not is_axis(condition):
        raise ConfigError(f"{condition!r} is no AXIS:LEVEL; give e.g. light:3, levels 1 to 5.")
    axis, _, level = condition.partition(":")
    return axis, int(level)
