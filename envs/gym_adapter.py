"""Every tabletop task as a Gymnasium environment: `gymnasium.make("vla/TabletopReach-v0")`.

Importing this module registers them; Gymnasium does so itself for ids such as
"envs.gym_adapter:vla/TabletopReach-v0".
"""

import string
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.config import TASKS, TabletopConfig
from vla.types import Observation

_WORDS = string.ascii_letters + string.digits + " .,'-"


class TabletopEnv(gymnasium.Env):
    """One tabletop task with Gymnasium's five-tuple.

    Observations are a Dict of the cameras' pictures (uint8 (H, W, 3)), "state" (float32 (14,)) and
    "instruction" (Text). The reward is 1 at the tick on which the task is done and 0 before;
    `info["is_success"]` says the same. An episode terminates when it is done, truncates at the
    task's horizon. `reset(seed=s)` shows the scene that the world's `reset(seed=s)` shows.

    Args:
        task: see `envs.tasks`.
        render_mode: None or "rgb_array" (the front camera).
        options: further fields of TabletopConfig.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (Gymnasium's name)

    def __init__(self, *, task: str, render_mode: str | None = None, **options: Any):
        self.render_mode = render_mode
        self.world = TabletopConfig(tasks=[task], **options).build(task)
        body = self.world.embodiment
        pictures = {
            name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
            for name, camera in body.cameras.items()
        }
        self.observation_space = spaces.Dict(
            {
                **pictures,
                "state": _box(body.state),
                "instruction": spaces.Text(max_length=120, min_length=0, charset=_WORDS),
            }
        )
        self.action_space = _box(body.action)
        self._last: Observation | None = None

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begin the episode of `seed`, or of one drawn from the env's own generator."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        self._last = self.world.reset(seed=chosen)
        return self._unpack(self._last), {"is_success": False, "seed": chosen}

    def step(self, action: np.ndarray):
        """One control tick of 1/20 s."""
        self._last = self.world.step(np.asarray(action, dtype=np.float32))
        outcome = self.world.outcome()
        ended = outcome.ended and not outcome.success
        info = {"is_success": outcome.success}
        return self._unpack(self._last), float(outcome.success), outcome.success, ended, info

    def render(self) -> np.ndarray | None:
        """The front camera's last picture, uint8 (H, W, 3), in mode "rgb_array"."""
        if self.render_mode is None or self._last is None:
            return None
        return self._last.images["front"][0].copy()

    def close(self) -> None:
        """Free the GL context."""
        self.world.close()

    def _unpack(self, observation: Observation) -> dict[str, Any]:
        space = self.observation_space["state"]
        return {
            **{name: frames[0] for name, frames in observation.images.items()},
            # A joint at its stop may lie a hair beyond it; the space's bounds are exact.
            "state": np.clip(observation.state[0], space.low, space.high),
            "instruction": observation.instruction,
        }


def _box(axes: tuple) -> spaces.Box:
    low = np.array([axis.low for axis in axes], dtype=np.float32)
    high = np.array([axis.high for axis in axes], dtype=np.float32)
    return spaces.Box(low, high, dtype=np.float32)


def _register() -> None:
    for task in TASKS:  # "Tabletop" + name, e.g. vla/TabletopStow-v0
        name = f"vla/Tabletop{task.capitalize()}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=TabletopEnv, kwargs={"task": task})


_register()
