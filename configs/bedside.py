"""The world as deployed, with an expert in it: what triage looks at."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vla.contract import Policy
from vla.errors import ConfigError
from vla.evaluation.findings import Chain
from vla.evaluation.probes import RandomPolicy, play, replay_demonstration
from vla.runtime.config import ControlConfig
from vla.types import Trajectory

TRIES = 3
"""Scenes per demonstration wanted, before the expert is taken to fail."""

Recorder = Callable[[Any, str, int], Trajectory]


@dataclass(kw_only=True, slots=True)
class Bedside:
    """Demonstrations of experts, and what the control chain makes of them.

    Attributes:
        build: the world of a task, as deployed.
        record: (world, task, seed) to the expert's undisturbed episode, good or bad.
        tasks, episodes, first_seed: which scenes.
        control, max_steps: as deployed.
        tried, managed: scenes the experts were given, and those they managed.
        live: (task, seed, episode) of what is to be looked at: successes, and of a task without
            any the failures, which still show pictures, states and delays.
    """

    build: Callable[[str], Any]
    record: Recorder
    tasks: Sequence[str]
    episodes: int
    control: ControlConfig
    max_steps: int
    first_seed: int
    tried: int = 0
    managed: int = 0
    live: list[tuple[str, int, Trajectory]] = field(default_factory=list)

    def observe_experts(self) -> list[Trajectory]:
        """Record `episodes` demonstrations per task."""
        for task, world in self._worlds():
            good: list[tuple[str, int, Trajectory]] = []
            bad: list[tuple[str, int, Trajectory]] = []
            for seed in range(self.first_seed, self.first_seed + TRIES * self.episodes):
                trajectory = self.record(world, task, seed)
                (good if trajectory.success else bad).append((task, seed, trajectory))
                del bad[self.episodes :]
                self.tried += 1
                if len(good) == self.episodes:
                    break
            self.managed += len(good)
            self.live += good or bad
        return [trajectory for _, _, trajectory in self.live]

    def try_chain(self, policy: Policy | None = None) -> Chain:
        """Replay the demonstrations with and without limits; let policy and dice play too.

        Without a policy nobody plays: success and floor stay unknown, and it takes a third.
        """
        free = replace(self.control, rate_limits={})
        variants = {"as it is": (self.control, self.max_steps)}
        if self.control.rate_limits:
            variants["no rate limits"] = (free, self.max_steps)
        if self.max_steps:
            variants["no step limit"] = (self.control, 0)
        verdicts: dict[str, list[bool]] = {name: [] for name in variants}
        success: list[bool] = []
        floor: list[bool] = []
        for task, world in self._worlds():
            dice = RandomPolicy(world.embodiment)
            for name, seed, trajectory in self.live:
                if name != task:
                    continue
                for variant, (control, limit) in variants.items():
                    if not trajectory.success:
                        break  # what fails is no demonstration
                    if variant != "as it is" and verdicts["as it is"][-1]:
                        verdicts[variant].append(True)  # nothing to gain
                        continue
                    options: dict[str, Any] = {"control": control, "max_steps": limit}
                    done = replay_demonstration(world, trajectory, seed=seed, **options)
                    verdicts[variant].append(done)
                options = {"control": self.control, "max_steps": self.max_steps}
                for player, results in ((policy, success), (dice, floor)) if policy else ():
                    last = play(world, player, seed=seed, **options)
                    results.append(last.outcome.success)
        return Chain(
            experts=self.managed / max(self.tried, 1),
            replayed={name: float(np.mean(values)) for name, values in verdicts.items() if values},
            success=float(np.mean(success)) if success else None,
            floor=float(np.mean(floor)) if floor else None,
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
        from envs.benchmarks.demonstrations import play_benchmark_expert

        return lambda w, task, seed: play_benchmark_expert(w, world.find_expert(task), seed=seed)
    if isinstance(world, TabletopConfig):
        from envs.demonstrations import play_expert
        from envs.experts import EXPERTS

        return lambda w, task, seed: play_expert(w, EXPERTS[task], seed=seed)
    raise ConfigError(f"world={world.kind} has no experts; triage needs them. Try world=tabletop.")
