"""What all public benchmarks have in common: ticks, success at any tick, a horizon."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import ContractError, ShapeError
from vla.types import Float32, Observation, Outcome, Uint8


class Simulator(Protocol):
    """One task of a public benchmark, reduced to what differs between them."""

    def begin(self, seed: int) -> None:
        """Lay out the scene of `seed`."""
        ...

    def advance(self, action: Float32) -> bool:
        """One control tick; whether the task is done now. `action` (A,) is within bounds."""
        ...

    def measure(self) -> Float32:
        """The state (S,)."""
        ...

    def look(self) -> Mapping[str, Uint8]:
        """Per camera uint8 (1, H, W, 3)."""
        ...

    def close(self) -> None:
        """Free everything; idempotent."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """A Simulator that tells where things are, for auxiliary losses in training only."""

    def labels(self) -> Mapping[str, Float32]:
        """By name float32 (L,), see `MujocoWorld.labels`."""
        ...


class BenchmarkWorld:
    """A World around a Simulator.

    Success at any tick ends the episode, as the public harnesses of these benchmarks count it;
    there is no holding time. Actions beyond the embodiment's bounds are clipped to them.

    Args:
        simulator: the scene.
        embodiment: its axes, rate and cameras.
        task: its public name.
        instruction: the words of every episode.
        horizon: ticks after which an episode has failed.
    """

    def __init__(
        self,
        simulator: Simulator,
        embodiment: Embodiment,
        *,
        task: str,
        instruction: str,
        horizon: int,
    ):
        self.simulator, self.embodiment = simulator, embodiment
        self.task, self.horizon = task, horizon
        self._instruction = instruction
        self._low = np.array([axis.low for axis in embodiment.action], np.float32)
        self._high = np.array([axis.high for axis in embodiment.action], np.float32)
        self._ticks = -1
        self._success = False

    def reset(self, *, seed: int) -> Observation:
        """See World."""
        self.simulator.begin(seed)
        self._ticks, self._success = 0, False
        return self._observe()

    def step(self, action: Float32) -> Observation:
        """See World; raises ShapeError on a wrong shape or a value that is not finite."""
        self._require_episode()
        if not isinstance(action, np.ndarray) or action.shape != self._low.shape:
            shape = getattr(action, "shape", type(action).__name__)
            raise ShapeError(f"The action is {shape}; this world takes ({self._low.size},).")
        if not np.isfinite(action).all():
            raise ShapeError(f"The action holds NaN or inf: {action.tolist()}.")
        bounded = np.clip(action, self._low, self._high).astype(np.float32)
        self._success = self.simulator.advance(bounded) or self._success
        self._ticks += 1
        return self._observe()

    def outcome(self) -> Outcome:
        """Ended at the first tick of success, or at the horizon."""
        self._require_episode()
        if self._success:
            return Outcome(success=True, ended=True, reason="the task is done")
        if self._ticks >= self.horizon:
            return Outcome(success=False, ended=True, reason="out of time")
        return Outcome(success=False, ended=False)

    def close(self) -> None:
        """See World."""
        self.simulator.close()

    def _observe(self) -> Observation:
        return Observation(
            images=self.simulator.look(),
            state=self.simulator.measure()[None],
            instruction=self._instruction,
            time=self._ticks / self.embodiment.hz,
        )

    def _require_episode(self) -> None:
        if self._ticks < 0:
            raise ContractError("No episode has begun; call reset(seed=...) first.")
