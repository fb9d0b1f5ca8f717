"""The job of `vla triage`."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from envs.config import WorldConfig
from vla.errors import ConfigError
from vla.evaluation.config import EVALUATION_SEEDS
from vla.runtime.config import ControlConfig


@dataclass(kw_only=True, slots=True)
class TriageJob:
    """Rank the likely causes of a checkpoint's failures, each with evidence and remedy.

    Experts demonstrate in the world as deployed; the policy plans on what they saw, with and
    without every repair; their actions are replayed through the control chain. See
    docs/evaluation.md.

    Attributes:
        checkpoint: a run's folder, one checkpoint, or the address of a `vla serve`.
        world: as deployed; it must have experts.
        control: as deployed.
        demonstrations: folder of the store it was trained on; "": unknown, and then causes that
            need a comparison with it (state statistics, unlike training, delays) stay hidden.
        episodes: demonstrations per task; the policy plays the same scenes.
        max_steps: as in the evaluation that failed; 0: only the world ends an episode.
        first_seed: of the scenes.
        device: as for training.
        output: folder of triage.json.
    """

    checkpoint: str = MISSING
    world: WorldConfig = MISSING
    control: ControlConfig = field(default_factory=ControlConfig)
    demonstrations: str = ""
    episodes: int = 8
    max_steps: int = 0
    first_seed: int = EVALUATION_SEEDS + 500_000
    device: str = "auto"
    output: str = MISSING

    def __post_init__(self) -> None:
        if self.episodes < 2:
            raise ConfigError(f"episodes is {self.episodes}; triage needs at least 2 per task.")
        if self.max_steps < 0 or self.first_seed < EVALUATION_SEEDS:
            raise ConfigError(
                f"max_steps={self.max_steps}, first_seed={self.first_seed}: give 0 or more, and "
                f"{EVALUATION_SEEDS} or more (seeds below belong to demonstrations)."
            )
