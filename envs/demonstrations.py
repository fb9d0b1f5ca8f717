"""Record demonstrations: an expert acts, is disturbed, and its corrections are what is recorded.

Source of the idea: DART, Laskey et al. 2017, "Noise Injection for Robust Imitation Learning". The
command sent is the expert's plus noise for some stretches; the recorded action is the expert's
own, so the data shows how to come back from where noise (or a policy's error) leads.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from envs.benchmarks.config import BenchmarkConfig
from envs.benchmarks.demonstrations import record_benchmark_episode
from envs.body import MAX_MOVE, MAX_TURN
from envs.config import TabletopConfig
from envs.experts import EXPERTS, Expert
from envs.mujoco_world import MujocoWorld
from vla.errors import ConfigError, DataError
from vla.types import Float32, Observation, Trajectory

_ATTEMPTS = 20
_MOVE_NOISE = 0.009
_TURN_NOISE = 0.04
"""Standard deviation of a disturbed tick's extra motion: metres and radians per axis."""


class Disturbance:
    """Temporally correlated noise on the six motion axes, in stretches of 3 to 8 ticks.

    Args:
        scale: 0 for none; 1 pushes the tool by several centimetres per stretch.
        rng: decides everything.
    """

    def __init__(self, scale: float, rng: np.random.Generator):
        self._scale = scale * np.repeat([_MOVE_NOISE, _TURN_NOISE], 3)
        self._rng = rng
        self._left = 0
        self._noise = np.zeros(6)

    def __call__(self, action: Float32) -> Float32:
        """`action` (7,) with noise added to its first six entries; not clipped."""
        start, length = self._rng.random(), int(self._rng.integers(3, 9))
        fresh = self._rng.standard_normal(6)
        if self._left == 0 and start < 0.12:
            self._left = length
            self._noise = fresh
        if self._left == 0:
            return action
        self._left -= 1
        self._noise = 0.8 * self._noise + 0.6 * fresh
        return action + np.append(self._noise * self._scale, 0.0).astype(np.float32)


def record_episode(
    world: MujocoWorld, expert: Expert, *, seed: int, noise: float = 0.0
) -> Trajectory | None:
    """Let `expert` play the episode of `seed`; None when it fails. See `play_expert`."""
    trajectory = play_expert(world, expert, seed=seed, noise=noise)
    return trajectory if trajectory.success else None


def play_expert(world: MujocoWorld, expert: Expert, *, seed: int, noise: float = 0.0) -> Trajectory:
    """Let `expert` play the episode of `seed` to its end, good or bad.

    Args:
        world: a tabletop world.
        expert: see envs.experts.
        seed: decides the scene, the words and the noise.
        noise: scale of the disturbance of the commands sent, 0 for none, 1 for the usual.

    Returns:
        A Trajectory whose `action` is the expert's answer at each state, with the world's labels.
    """
    disturb = Disturbance(noise, np.random.default_rng([seed, 1]))
    observation = draw(world.reset(seed=seed))
    seen: list[Observation] = []
    actions: list[Float32] = []
    labels: list[dict[str, Float32]] = []
    bound = np.array([*[MAX_MOVE] * 3, *[MAX_TURN] * 3, 1.0], dtype=np.float32)
    while not world.outcome().ended:
        action = expert(world.scene_state(), world.assignment)
        seen.append(observation)
        actions.append(world.express(action))
        labels.append(world.labels())
        observation = draw(world.step(world.express(np.clip(disturb(action), -bound, bound))))
    return Trajectory(
        images={name: np.concatenate([o.images[name] for o in seen]) for name in seen[0].images},
        state=np.concatenate([o.state for o in seen]),
        action=np.stack(actions),
        instruction=seen[0].instruction,
        time=np.array([o.time for o in seen]),
        success=world.outcome().success,
        labels={name: np.stack([row[name] for row in labels]) for name in labels[0]},
        source={
            "world": "tabletop",
            "task": world.task.name,
            "seed": seed,
            "noise": noise,
            "mujoco": mujoco.__version__,
        },
    )


def draw(observation: Observation) -> Observation:
    """With its pictures drawn: an undrawn one keeps a copy of the scene, which is larger."""
    return replace(observation, images=dict(observation.images))


def record_demonstrations(
    config: TabletopConfig | BenchmarkConfig,
    *,
    tasks: Sequence[str],
    episodes_per_task: int,
    seed: int = 0,
    noise: float = 1.0,
    workers: int | None = None,
) -> Iterator[Trajectory]:
    """Successful episodes, tasks taking turns; the same ones in the same order for any `workers`.

    Scenes come from seeds of 2**32 and above, so that evaluation on small seeds sees new ones.

    Args:
        config: the world; its cameras are what is recorded.
        tasks: names among `config.tasks`.
        episodes_per_task: how many of each.
        seed: of the whole recording.
        noise: see `record_episode`.
        workers: processes; by default one per core, 1 records in this process.

    Raises:
        ConfigError: when a number makes no sense.
        DataError: when an expert fails 20 scenes in a row.
        RenderError: when no GL context opens.
    """
    workers = workers or os.cpu_count() or 1
    if episodes_per_task < 1 or workers < 1 or noise < 0:
        raise ConfigError(
            f"episodes_per_task={episodes_per_task}, workers={workers}, noise={noise}: "
            "the first two must be at least 1, the noise at least 0."
        )
    jobs = [(task, episode, seed, noise) for episode in range(episodes_per_task) for task in tasks]
    if workers == 1:
        bench = _Bench(config)
        try:
            for job in jobs:
                yield bench.record(*job)
        finally:
            bench.close()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _set_up, (config,)) as pool:
        running: deque[Future[Trajectory]] = deque()
        try:
            for job in jobs:
                running.append(pool.submit(_record, *job))
                if len(running) >= 4 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Bench:
    """One process's worlds, built as they are needed."""

    def __init__(self, config: TabletopConfig | BenchmarkConfig):
        self._config = config
        self._worlds: dict[str, Any] = {}

    def record(self, task: str, episode: int, seed: int, noise: float) -> Trajectory:
        """The first scene of this job's own sequence of scenes that the expert manages."""
        if task not in self._worlds:
            self._worlds[task] = self._config.build(task)
        key = [seed, self._config.tasks.index(task), episode]
        scenes = np.random.SeedSequence(key).generate_state(_ATTEMPTS, np.uint32)
        for scene in scenes:
            number = int(scene) + 2**32
            found = self._play(task, number, noise)
            if found is not None:
                return found
        raise DataError(
            f"The expert of {task!r} failed {_ATTEMPTS} scenes in a row at noise {noise}; "
            "lower the noise."
        )

    def _play(self, task: str, seed: int, noise: float) -> Trajectory | None:
        world = self._worlds[task]
        if isinstance(self._config, BenchmarkConfig):
            expert = self._config.find_expert(task)
            return record_benchmark_episode(world, expert, seed=seed, noise=noise)
        return record_episode(world, EXPERTS[task], seed=seed, noise=noise)

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()


_bench: _Bench | None = None
"""A worker process's own bench: the pool's initializer has no other place to leave it."""


def _set_up(config: TabletopConfig | BenchmarkConfig) -> None:
    global _bench
    _bench = _Bench(config)


def _record(task: str, episode: int, seed: int, noise: float) -> Trajectory:
    assert _bench is not None
    return _bench.record(task, episode, seed, noise)
