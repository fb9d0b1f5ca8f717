"""The seams: four Protocols that everything else is written against.

    World ──Observation──▶ Controller ──▶ Policy.act ──ActionChunk──▶ Controller ──action──▶ World

A Policy is a pure function: retries, batching over clients, remote, compiled and
quantized policies are wrappers with the same three members. All memory of an
episode lives in the Controller. `World.step` returns at the next control tick,
in simulation by advancing physics, on a robot by waiting for its deadline, so
one rollout drives both.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from vla.embodiment import Embodiment
from vla.types import ActionChunk, Float32, Observation, Outcome


@runtime_checkable
class Policy(Protocol):
    """Maps observations to plans, without memory and without hidden randomness."""

    embodiment: Embodiment
    history: int
    """How many observation steps T it needs (1: the present only)."""

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """One chunk per observation, each as if it were alone.

        Args:
            observations: n of them, each with T == `history`, of equal image sizes.
            seeds: one per observation; decides all randomness of its chunk, so that equal
                inputs and seed give equal chunks, whatever else is in the batch.

        Raises:
            ShapeError, EmbodimentMismatch: when an observation is out of contract.
        """
        ...


@runtime_checkable
class Controller(Protocol):
    """Called every tick; turns observations into the one action that is due now."""

    def reset(self, *, seed: int) -> None:
        """Forget the last episode."""
        ...

    def __call__(self, observation: Observation) -> Float32:
        """The action (A,) float32 for the tick that begins at `observation.time`."""
        ...


@runtime_checkable
class World(Protocol):
    """Something with a state, cameras and a clock: a simulation, a Gymnasium env, a robot."""

    embodiment: Embodiment

    def reset(self, *, seed: int) -> Observation:
        """Begin an episode; equal seeds give equal episodes where the world can."""
        ...

    def step(self, action: Float32) -> Observation:
        """Apply `action` (A,) float32 and return the observation (T == 1) at the next tick."""
        ...

    def outcome(self) -> Outcome:
        """How the episode stands now."""
        ...

    def close(self) -> None:
        """Release devices, processes and GL contexts; idempotent."""
        ...


@runtime_checkable
class Robot(Protocol):
    """A device behind a driver. Only `robot_drivers.robot_world` talks to it, through the gate."""

    embodiment: Embodiment

    def connect(self) -> None:
        """Open the device; the arm must not move. Raises RobotError with the remedy."""
        ...

    def read(self) -> tuple[Float32, float]:
        """State (S,) float32 and its capture time in seconds on the monotonic clock."""
        ...

    def write(self, action: Float32) -> Float32:
        """Send one command (A,) float32 and return what was really sent."""
        ...

    def halt(self) -> None:
        """Stop and hold position; idempotent, safe to call at any time."""
        ...
