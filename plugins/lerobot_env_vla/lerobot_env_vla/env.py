"""A world with the observation keys and attributes that lerobot-eval asks for."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.config import WorldConfig
from vla.contract import World
from vla.embodiment import Axis
from vla.types import Observation

HORIZON = 500
"""Ticks after which an episode is cut where the world does not say so itself."""


class VlaEnv(gymnasium.Env):
    """One task; the world is built at the first reset, in the process that uses it.

    Observations: {"pixels": {camera: uint8 (H, W, 3)}, "agent_pos": float32 (S,)}. The reward is 1
    at the tick of success, which ends the episode; info["is_success"] says the same.

    Args:
        config: of the world.
        task: among its tasks.
    """

    def __init__(self, config: WorldConfig, task: str):
        body = config.embodiment()
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(body.hz)}
        self.render_mode = "rgb_array"
        self.task = task
        self.task_description = task
        self._config = config
        self._world: World | None = None
        self._seen: Observation | None = None
        pixels = {
            name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
            for name, camera in body.cameras.items()
        }
        self.observation_space = spaces.Dict(
            {"pixels": spaces.Dict(pixels), "agent_pos": _box(body.state, bounded=False)}
        )
        self.action_space = _box(body.action, bounded=True)

    @property
    def _max_episode_steps(self) -> int:
        """LeRobot's name for the horizon."""
        world = self._require()
        return getattr(world, "horizon", getattr(getattr(world, "task", None), "horizon", HORIZON))

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begin the episode of `seed`, or of one drawn from the env's own generator."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        self._seen = self._require().reset(seed=chosen)
        self.task_description = self._seen.instruction
        return self._unpack(self._seen), {"is_success": False}

    def step(self, action: np.ndarray):
        """One control tick."""
        world = self._require()
        self._seen = world.step(np.asarray(action, np.float32))
        outcome = world.outcome()
        failed = outcome.ended and not outcome.success
        info = {"is_success": outcome.success}
        return self._unpack(self._seen), float(outcome.success), outcome.success, failed, info

    def render(self) -> np.ndarray | None:
        """The first camera's last picture."""
        if self._seen is None:
            return None
        return next(iter(self._seen.images.values()))[0].copy()

    def close(self) -> None:
        """Free the world."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def _require(self) -> World:
        if self._world is None:
            self._world = self._config.build(self.task)
        return self._world

    def _unpack(self, seen: Observation) -> dict[str, Any]:
        pixels = {name: frames[0] for name, frames in seen.images.items()}
        return {"pixels": pixels, "agent_pos": seen.state[0]}


def _box(axes: tuple[Axis, ...], *, bounded: bool) -> spaces.Box:
    if not bounded:  # a sensor may read a hair beyond its axis' bounds
        return spaces.Box(-np.inf, np.inf, (len(axes),), np.float32)
    low = np.array([axis.low for axis in axes], np.float32)
    high = np.array([axis.high for axis in axes], np.float32)
    return spaces.Box(low, high, dtype=np.float32)
