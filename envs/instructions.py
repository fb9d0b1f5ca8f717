"""Worlds that say something else: the same scenes and the same success, other words.

A policy that uses its instruction must do worse under both; how much worse measures how far it
listens.
"""

from dataclasses import replace

import numpy as np

from envs.mujoco_world import MujocoWorld
from envs.task import Assignment, SceneState, Task
from vla.embodiment import Embodiment
from vla.types import Float32, Observation, Outcome


class _OtherWords:
    """Passes everything on to a MujocoWorld and replaces the words of its observations."""

    def __init__(self, world: MujocoWorld):
        self._world = world

    @property
    def embodiment(self) -> Embodiment:
        """The wrapped world's."""
        return self._world.embodiment

    @property
    def task(self) -> Task:
        """The wrapped world's."""
        return self._world.task

    @property
    def assignment(self) -> Assignment:
        """The wrapped world's, with the original words."""
        return self._world.assignment

    def reset(self, *, seed: int) -> Observation:
        """See World."""
        return self._say(self._world.reset(seed=seed))

    def step(self, action: Float32) -> Observation:
        """See World."""
        return self._say(self._world.step(action))

    def outcome(self) -> Outcome:
        """By the original instruction."""
        return self._world.outcome()

    def close(self) -> None:
        """See World."""
        self._world.close()

    def command(self, action: Float32) -> None:
        """See MujocoWorld."""
        self._world.command(action)

    def advance(self, seconds: float) -> None:
        """See MujocoWorld."""
        self._world.advance(seconds)

    def observe(self) -> Observation:
        """See MujocoWorld."""
        return self._say(self._world.observe())

    def measure(self) -> Float32:
        """See MujocoWorld."""
        return self._world.measure()

    def labels(self) -> dict[str, Float32]:
        """By the original instruction."""
        return self._world.labels()

    def scene_state(self) -> SceneState:
        """See MujocoWorld."""
        return self._world.scene_state()

    def express(self, delta: Float32) -> Float32:
        """See MujocoWorld."""
        return self._world.express(delta)

    def still(self) -> Float32:
        """See MujocoWorld."""
        return self._world.still()

    def progress(self) -> dict[str, float]:
        """By the original instruction."""
        return self._world.progress()

    def figures(self) -> dict[str, float]:
        """By the original instruction."""
        return self._world.figures()

    def _say(self, observation: Observation) -> Observation:
        return replace(observation, instruction=self._words())

    def _words(self) -> str:
        raise NotImplementedError


class BlankInstruction(_OtherWords):
    """Says nothing at all."""

    def _words(self) -> str:
        return ""


class SwappedInstruction(_OtherWords):
    """Names another object, and another destination, of the same scene."""

    def _words(self) -> str:
        return self._world.swapped_instruction()


class PermutedInstruction(_OtherWords):
    """Says what another task would say in the scene of the same seed.

    The permutation probe: a policy that reads its words does another task and fails; one that
    knows tasks by their scenes does not notice. Source: the task-id rotation of MINERVA,
    arXiv 2609.03715.
    """

    def __init__(self, world: MujocoWorld, other: Task):
        super().__init__(world)
        self._other, self._said = other, ""

    def reset(self, *, seed: int) -> Observation:
        """See World."""
        self._said = self._other.sample(np.random.default_rng(seed)).instruction
        return super().reset(seed=seed)

    def _words(self) -> str:
        return self._said
