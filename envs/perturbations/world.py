"""The tabletop world under one perturbation."""

from collections import deque
from dataclasses import replace

import mink
import mujoco
import numpy as np

from envs.mujoco_world import MujocoWorld
from envs.perturbations.edits import ModelEdits
from envs.perturbations.perturbation import Perturbation
from envs.task import Assignment, Task
from vla.pictures import LatePictures, Pictures
from vla.types import Float32, Observation


class PerturbedWorld(MujocoWorld):
    """A MujocoWorld that differs from the nominal one along one axis.

    The episode of a seed is the nominal one of that seed except for the axis, so the two are
    pairs. Success is judged as nominally; the model is the nominal one again after `close`.

    Args:
        task, options: see MujocoWorld.
        perturbation: axis and level.
    """

    def __init__(self, task: Task, *, perturbation: Perturbation, **options):
        self._perturbation = perturbation
        super().__init__(task, **options)
        self._edits = ModelEdits(self.model, self.data)
        self._late: deque[Float32] = deque()
        self._seed = 0

    def reset(self, *, seed: int) -> Observation:
        """See World."""
        self._view.settle()
        self._edits.undo()
        self._seed = seed
        seen = super().reset(seed=seed)
        self._late = deque([self.still()] * self._perturbation.delay)
        return seen

    def command(self, action: Float32) -> None:
        """See MujocoWorld; with a delay, an earlier action is carried out instead."""
        self._check(action)
        self._late.append(action.copy())
        super().command(self._late.popleft())

    def observe(self) -> Observation:
        """See MujocoWorld."""
        seen, seed, moment = super().observe(), self._seed, self._physics_steps

        def draw() -> Pictures:
            return {
                name: self._perturbation.see(image[0], name, seed, moment)[None]
                for name, image in seen.images.items()
            }

        return replace(seen, images=LatePictures(tuple(seen.images), draw))

    def measure(self) -> Float32:
        """See MujocoWorld; within the embodiment's bounds where the true state is."""
        true = super().measure()
        state = self._perturbation.sense(true, self._seed, self._physics_steps)
        low, high = np.array([(a.low, a.high) for a in self.embodiment.state], np.float32).T
        return np.clip(state, np.minimum(low, true), np.maximum(high, true))

    def close(self) -> None:
        """See World."""
        self._edits.undo()
        super().close()

    def _build_scene(self, quality: str) -> mujoco.MjSpec:
        spec = super()._build_scene(quality)
        self._perturbation.prepare(spec)
        return spec

    def _draw(self, seed: int) -> Assignment:
        return self._perturbation.reassign(super()._draw(seed), seed)

    def _arrange(self, assignment: Assignment) -> None:
        super()._arrange(assignment)
        self._perturbation.edit(self._edits, assignment, self._seed)

    def _start(self, assignment: Assignment) -> mink.SE3:
        return self._perturbation.start(super()._start(assignment), self._seed)
