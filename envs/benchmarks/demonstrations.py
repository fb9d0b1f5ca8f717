"""Scripted experts of public benchmarks at work, disturbed and recorded as the tabletop's are."""

from collections.abc import Mapping
from typing import Any, Protocol

import mujoco
import numpy as np

from envs.benchmarks.world import BenchmarkWorld, Labelled
from vla.types import Float32, Trajectory, Uint8


class Demonstrator(Protocol):
    """A scripted expert of one task; it may read the simulator's truth."""

    def __call__(self, simulator: Any) -> Float32:
        """The action (A,) for the present state."""
        ...


class Push:
    """Correlated noise on the delta axes in stretches of 5 to 20 ticks (DART, Laskey et al. 2017).

    Args:
        scale: 0 for none; 1 has half of an axis' range as its standard deviation.
        axes: float (A,), the half range of each delta axis, 0 for the others.
        rng: decides everything.
    """

    def __init__(self, scale: float, axes: np.ndarray, rng: np.random.Generator):
        self._scale = 0.5 * scale * axes
        self._rng = rng
        self._left = 0
        self._noise = np.zeros(axes.size)

    def __call__(self, action: Float32) -> Float32:
        """`action` (A,) with noise; not clipped."""
        start, length = self._rng.random(), int(self._rng.integers(5, 21))
        fresh = self._rng.standard_normal(self._scale.size)
        if self._left == 0 and start < 0.03:
            self._left, self._noise = length, fresh
        if self._left == 0:
            return action
        self._left -= 1
        self._noise = 0.9 * self._noise + 0.44 * fresh
        return (action + self._noise * self._scale).astype(np.float32)


def record_benchmark_episode(
    world: BenchmarkWorld, expert: Demonstrator, *, seed: int, noise: float = 0.0
) -> Trajectory | None:
    """Let `expert` play the episode of `seed`; None when it fails. See `play_benchmark_expert`."""
    trajectory = play_benchmark_expert(world, expert, seed=seed, noise=noise)
    return trajectory if trajectory.success else None


def play_benchmark_expert(
    world: BenchmarkWorld, expert: Demonstrator, *, seed: int, noise: float = 0.0
) -> Trajectory:
    """Let `expert` play the episode of `seed` to its end, good or bad.

    Args:
        world: of the expert's task.
        expert: see `BenchmarkConfig.find_expert`.
        seed: decides the scene and the noise.
        noise: scale of the disturbance of the commands sent; the recorded action is the
            expert's own answer.
    """
    body = world.embodiment
    half = np.array([(a.high - a.low) / 2 if a.mode == "delta" else 0.0 for a in body.action])
    push = Push(noise, half, np.random.default_rng([seed, 1]))
    observation = world.reset(seed=seed)
    images: list[Mapping[str, Uint8]] = []
    states: list[Float32] = []
    actions: list[Float32] = []
    times: list[float] = []
    labels: list[Mapping[str, Float32]] = []
    while not world.outcome().ended:
        action = expert(world.simulator)
        images.append(dict(observation.images))  # drawn now: kept copies of the scene are larger
        states.append(observation.state[0])
        actions.append(action)
        times.append(observation.time)
        if isinstance(world.simulator, Labelled):
            labels.append(world.simulator.labels())
        observation = world.step(push(action))
    return Trajectory(
        images={name: np.concatenate([seen[name] for seen in images]) for name in body.cameras},
        state=np.stack(states),
        action=np.stack(actions),
        instruction=observation.instruction,
        time=np.array(times),
        success=world.outcome().success,
        labels={name: np.stack([row[name] for row in labels]) for name in labels[0]}
        if labels
        else {},
        source={
            "world": body.name,
            "task": world.task,
            "seed": seed,
            "noise": noise,
            "mujoco": mujoco.__version__,
        },
    )
