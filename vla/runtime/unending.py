"""A world that goes on after its episode is decided, for runs that end by time alone."""

from dataclasses import replace

from vla.contract import World
from vla.types import Float32, Observation, Outcome


class UnendingWorld:
    """Wraps a world; only `outcome` differs: it never says that the episode has ended."""

    def __init__(self, world: World):
        self._world = world
        self.embodiment = world.embodiment

    def reset(self, *, seed: int) -> Observation:
        """The wrapped world's."""
        return self._world.reset(seed=seed)

    def step(self, action: Float32) -> Observation:
        """The wrapped world's."""
        return self._world.step(action)

    def outcome(self) -> Outcome:
        """The wrapped world's, with `ended` false."""
        return replace(self._world.outcome(), ended=False)

    def close(self) -> None:
        """Close the wrapped world."""
        self._world.close()
