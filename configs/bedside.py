"""The world as deployed, with an expert in it: what triage looks at."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vla.contract import Policy
from vla.errors import ConfigError, DataError
from vla.evaluation.findings import Chain
from vla.evaluation.probes import RandomPolicy, play, replay_demonstration
from vla.runtime.config import ControlConfig
from vla.types import Trajectory

TRIES = 3
"""Scenes per demonstration wanted, before the expert is taken to fail."""

Recorder = Callable[[Any, str, int], Trajectory | None]


@dataclass(kw_only=True, slots=True)
class Bedside:
    """Demonstrations of experts, and what the control chain makes of them.

    Attributes:
        build: the world of a task, as deployed.
        record: (world, task, seed) to the expert's undisturbed episode, None when it fails.
        tasks, episodes, first_seed: which scenes.
        control, max_steps: as deployed.
        tried: scenes the experts were given; beside len(live) this is the expert ceiling.
    """

    build: Callable[[str], Any]
    record: Recorder
    tasks: Sequence[str]
    episodes: int
    control: ControlConfig
    max_steps: int
    first_seed: int
    tried: int = 0
    live: list[tuple[str, int, Trajectory]] = field(default_factory=list)

    def observe_experts(self) -> list[Trajectory]:
        """Record `episodes` demonstrations per task. Raises DataError when none succeeds."""
        for task, world in self._worlds():
            found = 0
            for seed in range(self.first_seed, self.first_seed + TRIES * self.episodes):
                self.tried += 1
                trajectory = self.record(world, task, seed)
                if trajectory is not None:
                    self.live.append((task, seed, trajectory))
                    found += 1
                if found == self.episodes:
                    break
        if not self.live:
            raise DataError(
                f"The experts failed all {self.tried} scenes in this world; whatever the policy "
                "does, look at the world first."
            )
        return [trajectory for _, _, trajectory in self.live]

    def try_chain(self, policy: Policy) -> Chain:
        """Replay the demonstrations with and without limits; let policy and dice play too."""
        free = replace(self.control, rate_limits={})
        variants = {"as it is": (self.control, self.max_steps)}
        if self.control.rate_limits:
            variants["no rate limits"] = (free, self.max_steps)
        if self.max_steps:
            variants["no step limit"] = (self.control, 0)
        verdicts: dict[str, list[bool]] = {name: [] for name in variants}
        success, floor = [], []
        for task, world in self._worlds():
            dice = RandomPolicy(world.embodiment)
            for name, seed, trajectory in self.live:
                if name != task:
                    continue
                for variant, (control, limit) in variants.items():
                    if variant != "as it is" and verdicts["as it is"][-1]:
                        verdicts[variant].append(True)  # nothing to gain
                        continue
                    options: dict[str, Any] = {"control": control, "max_steps": limit}
                    done = replay_demonstration(world, trajectory, seed=seed, **options)
                    verdicts[variant].append(done)
                options = {"control": self.control, "max_steps": self.max_steps}
                for player, results in ((policy, success), (dice, floor)):
                    ticks = play(world, player, seed=seed, **options)
                    results.append(ticks[-1].outcome.success)
        return Chain(
            replayed={name: float(np.mean(values)) for name, values in verdicts.items()},
            success=float(np.mean(success)),
            floor=float(np.mean(floor)),
        )

    def _worlds(self) -> Iterator[tuple[str, Any]]:
        for task in self.tasks:
            world = self.build(task)
            try:
                yield task, world
            finally:
                world.close()


def find_recorder(world: Any) -> Recorder:
    """How experts of a world config are recorded. Raises ConfigError for one without experts."""
    from envs.benchmarks.config import BenchmarkConfig
    from envs.config import TabletopConfig

    if isinstance(world, BenchmarkConfig):
        from envs.benchmarks.demonstrations import record_benchmark_episode

        return lambda w, task, seed: record_benchmark_episode(
            w, world.find_expert(task), seed=seed, noise=0.0
        )
    if isinstance(world, TabletopConfig):
        from envs.demonstrations import record_episode
        from envs.experts import EXPERTS

        return lambda w, task, seed: record_episode(w, EXPERTS[task], seed=seed)
    raise ConfigError(f"world={world.kind} has no experts; triage needs them. Try world=tabletop.")
