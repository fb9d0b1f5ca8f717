"""What a perturbation of the tabletop world is: one axis at one level, and where it may act."""

from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import mink
import mujoco
import numpy as np

from envs.perturbations.edits import ModelEdits
from envs.task import Assignment
from vla.errors import ConfigError
from vla.types import Float32, Uint8

LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Perturbation:
    """One axis at one level; a subclass overrides the places where its axis acts.

    What happens depends on the axis, the level and the episode's seed only. The direction of a
    change is drawn from axis and seed, its size is the level's: the same seed at a higher level
    is the same change, further. Level 0 changes nothing.

    Attributes:
        level: 0, or 1 (mild) to 5 (severe).
        axis: name of the axis.
        changes: what it does, in one sentence.
        ranges: per quantity (unit in its name) the greatest change at levels 1 to 5.
    """

    level: int
    axis: ClassVar[str] = ""
    changes: ClassVar[str] = ""
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {}

    def __post_init__(self) -> None:
        if self.level not in (0, *LEVELS):
            raise ConfigError(f"{self.axis}:{self.level} does not exist; give levels 1 to 5.")

    def amount(self, quantity: str) -> float:
        """The range of `quantity` at `level`; 0 at level 0."""
        return float(self.ranges[quantity][self.level - 1]) if self.level else 0.0

    def rng(self, seed: int, *moment: int) -> np.random.Generator:
        """The axis' own randomness in the episode of `seed`, at `moment` if it changes there."""
        return np.random.default_rng([seed, crc32(self.axis.encode()), *moment])

    def prepare(self, spec: mujoco.MjSpec) -> None:
        """Add to the scene what cannot be added later; once, it must be invisible by itself."""

    def reassign(self, assignment: Assignment, seed: int) -> Assignment:
        """Another scene or other words; target, pad and side must mean the same things."""
        return assignment

    def start(self, pose: mink.SE3, seed: int) -> mink.SE3:
        """Another first pose of the fingertips."""
        return pose

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """Change the compiled model in place, through `edits` so that it can be undone."""

    def see(self, image: Uint8, camera: str, seed: int, tick: int) -> Uint8:
        """Another picture (H, W, 3) of `camera` at physics step `tick`."""
        return image

    def sense(self, state: Float32, seed: int, tick: int) -> Float32:
        """Another state (14,) at physics step `tick`; clipped to the embodiment by the world."""
        return state

    @property
    def delay(self) -> int:
        """Control ticks by which commands come late."""
        return 0
