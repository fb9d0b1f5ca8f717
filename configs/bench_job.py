"""The job of `vla bench policies`."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from vla.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class BenchPoliciesJob:
    """Train presets for equally long on equal data, try them on equal scenes, show one table.

    Every stage is a public verb. What finished is kept: the same command goes on where it was.

    Attributes:
        store: folder of a store that `vla record` made.
        policies: presets of the group "policy"; empty: every tiny_* one.
        seeds: of training; one run each.
        seconds: of training per run; the steps that fit are measured before, so that the
            learning rate's schedule ends with them.
        steps: instead of `seconds`, when above 0: the same number of steps for all.
        episodes: per task and seed.
        batch_size: samples per step.
        learning_rate: for presets that `learning_rates` does not name.
        learning_rates: by preset.
        calls: plans that the latency is measured over.
        train, eval: overrides handed to each run of these verbs.
        output: folder of all runs and the table.
    """

    store: str = MISSING
    policies: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    seconds: float = 600.0
    steps: int = 0
    episodes: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    learning_rates: dict[str, float] = field(default_factory=dict)
    calls: int = 50
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    output: str = MISSING

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.steps < 0 or min(self.episodes, self.calls) < 1:
            raise ConfigError(
                "bench policies: seconds must be above 0, steps 0 or more, episodes and calls "
                "at least 1."
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds={self.seeds}: give at least one, each once.")

    def rate(self, preset: str) -> float:
        """Peak learning rate of a preset."""
        return self.learning_rates.get(preset, self.learning_rate)
