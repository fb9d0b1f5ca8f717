"""GymWorld: any Gymnasium environment with pictures and a Box action as a World."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError, ContractError, ShapeError
from vla.types import Float32, Observation, Outcome

RENDER = "render"
"""Camera source that means `env.render()` instead of a key of the observation."""


class GymWorld:
    """A Gymnasium environment seen through World.

    What the environment does not say stays unsaid: axes are numbered and pure numbers, in the
    space's own bounds, so data and policies of one environment only fit that environment.

    Args:
        env: built, with `render_mode="rgb_array"` where a camera's source is "render". A seed is
            given at each reset.
        name: the embodiment's name.
        cameras: per camera the key of the observation that holds its uint8 (H, W, 3) picture (dots
            descend into nested dicts), or "render".
        state: key of the state vector; "" when the observation is itself the vector.
        instruction: key of the text in the observation, or the text itself when there is no such
            key.
        success: key in `info` that says whether the episode has succeeded.
        hz: control rate, ticks per second.

    Raises:
        ConfigError: when a key is not there or does not hold what it should.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        *,
        name: str,
        cameras: dict[str, str],
        state: str,
        instruction: str,
        success: str,
        hz: float,
    ):
        if not isinstance(env.action_space, spaces.Box) or len(env.action_space.shape) != 1:
            raise ConfigError(
                f"{name}: the action space is {env.action_space}; only a Box of one dimension fits."
            )
        self._env = env
        self._cameras, self._state, self._words = cameras, state, instruction
        self._success, self._hz = success, hz
        observation, _ = env.reset(seed=0)
        vector = self._vector(observation)
        space = _find(env.observation_space, state) if state else env.observation_space
        shapes = {key: self._picture(observation, key).shape for key in cameras}
        self.embodiment = Embodiment(
            name=name,
            state=_axes("state", *_bounds(space, vector.size)),
            action=_axes("action", env.action_space.low, env.action_space.high),
            cameras={
                key: Camera(height=shape[0], width=shape[1], source=f"gym:{name}:{cameras[key]}")
                for key, shape in shapes.items()
            },
            hz=hz,
        )
        self._outcome: Outcome | None = None
        self._ticks = 0

    def reset(self, *, seed: int) -> Observation:
        """See World."""
        observation, _ = self._env.reset(seed=seed)
        self._ticks = 0
        self._outcome = Outcome(success=False, ended=False)
        return self._observe(observation)

    def step(self, action: Float32) -> Observation:
        """See World; raises ShapeError on a wrong shape or a value that is not finite.

        Actions are clipped to the action space's bounds.
        """
        space = self._env.action_space
        if self._outcome is None:
            raise ContractError("No episode has begun; call reset(seed=...) first.")
        if not isinstance(action, np.ndarray) or action.shape != space.shape:
            shape = getattr(action, "shape", type(action).__name__)
            raise ShapeError(f"The action is {shape}; this world takes an array of {space.shape}.")
        if not np.isfinite(action).all():
            raise ShapeError(f"The action holds NaN or inf: {action.tolist()}.")
        bounded = np.clip(action, space.low, space.high).astype(space.dtype)
        observation, _, terminated, truncated, info = self._env.step(bounded)
        self._ticks += 1
        success = bool(info.get(self._success, False))
        reason = "terminated" if terminated else "truncated" if truncated else ""
        ended = bool(terminated or truncated or success)
        self._outcome = Outcome(success=success, ended=ended, reason=reason)
        return self._observe(observation)

    def outcome(self) -> Outcome:
        """Success as `info` says it; ended when done, terminated or truncated."""
        if self._outcome is None:
            raise ContractError("No episode has begun; call reset(seed=...) first.")
        return self._outcome

    def close(self) -> None:
        """See World."""
        self._env.close()

    def _observe(self, observation: Any) -> Observation:
        return Observation(
            images={key: self._picture(observation, key)[None] for key in self._cameras},
            state=self._vector(observation)[None],
            instruction=self._instruction(observation),
            time=self._ticks / self._hz,
        )

    def _picture(self, observation: Any, camera: str) -> np.ndarray:
        source = self._cameras[camera]
        picture = self._env.render() if source == RENDER else _find(observation, source)
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
            raise ConfigError(
                f"Camera {camera!r}: {source!r} gives {_describe(picture)}, not a uint8 (H, W, 3) "
                'picture. For "render", make the env with render_mode="rgb_array".'
            )
        return picture

    def _vector(self, observation: Any) -> Float32:
        vector = _find(observation, self._state) if self._state else observation
        if not isinstance(vector, np.ndarray) or vector.ndim != 1:
            raise ConfigError(f"State {self._state!r} is {_describe(vector)}, not a vector.")
        return vector.astype(np.float32)

    def _instruction(self, observation: Any) -> str:
        if isinstance(observation, dict) and isinstance(observation.get(self._words), str):
            return observation[self._words]
        return self._words


def _find(tree: Any, path: str) -> Any:
    """The entry at dotted `path` of nested dicts (or Dict spaces)."""
    for key in path.split("."):
        if not isinstance(tree, dict | spaces.Dict) or key not in tree.keys():  # noqa: SIM118
            have = ", ".join(tree.keys()) if isinstance(tree, dict | spaces.Dict) else "no keys"
            raise ConfigError(f"The observation has no {path!r}; at {key!r} it has: {have}.")
        tree = tree[key]
    return tree


def _bounds(space: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    return np.full(size, -np.inf), np.full(size, np.inf)


def _axes(what: str, low: np.ndarray, high: np.ndarray) -> tuple[Axis, ...]:
    # JSON has no infinity, so unbounded axes get the largest float32.
    top = float(np.finfo(np.float32).max)
    return tuple(
        Axis(name=f"{what}{i}", unit="1", low=max(float(a), -top), high=min(float(b), top))
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__
