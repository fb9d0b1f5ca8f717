"""Push-T (Florence et al. 2021, Chi et al. 2023) as gym-pusht plays it, with words."""

import warnings
from collections.abc import Mapping

import numpy as np

from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Float32, Uint8

HZ = 10.0
INSTRUCTION = "push the T onto the green mark"


def pusht_embodiment(*, image_size: int) -> Embodiment:
    """A disc in a plane of 512 pixels: its place, and where it should go, as LeRobot has them."""

    def axes() -> tuple[Axis, ...]:
        return tuple(Axis(name=name, unit="px", low=0.0, high=512.0) for name in ("x", "y"))

    camera = Camera(height=image_size, width=image_size, source="pusht")
    return Embodiment(name="pusht", state=axes(), action=axes(), cameras={"top": camera}, hz=HZ)


class PushtSimulator:
    """The T and the disc; success is more than 95 % of the mark covered.

    Args:
        image_size: pixels, square.
    """

    def __init__(self, *, image_size: int):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pygame's, about pkg_resources
            from gym_pusht.envs import PushTEnv
        self._env = PushTEnv(
            obs_type="pixels_agent_pos",
            observation_width=image_size,
            observation_height=image_size,
        )
        self._seen: dict[str, np.ndarray] = {}

    def begin(self, seed: int) -> None:
        """See Simulator."""
        self._seen, _ = self._env.reset(seed=seed)

    def advance(self, action: Float32) -> bool:
        """See Simulator."""
        self._seen, _, _, _, info = self._env.step(action)
        return bool(info["is_success"])

    def measure(self) -> Float32:
        """The disc's x and y, float32 (2,)."""
        return self._seen["agent_pos"].astype(np.float32)

    def look(self) -> Mapping[str, Uint8]:
        """See Simulator; 0.4 ms, so it is drawn at once."""
        return {"top": np.ascontiguousarray(self._seen["pixels"])[None]}

    def close(self) -> None:
        """See Simulator."""
        self._env.close()
