"""Observations of openpi's clients: a flat map of one step, without history or seed.

openpi's `WebsocketClientPolicy` sends one map per plan and wants {"actions": (H, A)} back
(packages/openpi-client). Which keys the map has depends on the robot, so they are options;
"images/top" also finds {"images": {"top": ...}}, as openpi's ALOHA client sends it.
"""

from collections import deque
from typing import Any

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import ShapeError
from vla.runtime.controller import chunk_seed, stack_history
from vla.serving.codec import ProtocolError
from vla.serving.config import ServingConfig
from vla.types import Float32, Observation, Uint8


class Session:
    """What the server remembers of one openpi caller: its last steps and its plans' number."""

    def __init__(self, config: ServingConfig, embodiment: Embodiment, *, history: int):
        """Begin at plan 0 with no steps; every caller begins alike."""
        self._config, self._body, self._history = config, embodiment, history
        self._steps: deque[Observation] = deque(maxlen=history)
        self._plans = 0

    def observe(self, message: dict[Any, Any], *, time: float) -> tuple[Observation, int]:
        """The observation (T == history) that `message` completes, and the seed of its plan.

        Args:
            message: state (S,) numbers, pictures uint8 (H, W, 3) or (3, H, W), a prompt.
            time: of the message's arrival, seconds.

        Raises:
            ProtocolError: for a missing key. ShapeError: for an array that does not fit.
        """
        state = self._read_state(message)
        prompt = find(message, self._config.openpi_prompt)
        if not isinstance(prompt, str):
            raise ProtocolError(f"{self._config.openpi_prompt!r} must be text.")
        images = {name: self._read_picture(message, name)[None] for name in self._body.cameras}
        self._steps.append(
            Observation(images=images, state=state[None], instruction=prompt, time=time)
        )
        seed = chunk_seed(self._config.seed, self._plans)
        self._plans += 1
        return stack_history(list(self._steps), steps=self._history), seed

    def _read_state(self, message: dict[Any, Any]) -> Float32:
        """State (S,) float32 from an array or a list of numbers."""
        key, axes = self._config.openpi_state, len(self._body.state)
        try:
            with np.errstate(over="ignore"):  # infinities are refused with the observation
                state = np.asarray(find(message, key), np.float32)
        except (TypeError, ValueError) as error:
            raise ShapeError(f"{key!r} must hold {axes} numbers: {error}.") from error
        if state.shape != (axes,):
            raise ShapeError(f"{key!r} has shape {state.shape}; it must be {(axes,)}.")
        return state

    def _read_picture(self, message: dict[Any, Any], name: str) -> Uint8:
        key = self._config.openpi_images.get(name, f"observation/{name}")
        picture, camera = find(message, key), self._body.cameras[name]
        sides = (camera.height, camera.width, 3)
        if isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
            if picture.shape == sides:
                return picture
            if picture.shape == (3, *sides[:2]):
                return np.ascontiguousarray(picture.transpose(1, 2, 0))
        have = type(picture).__name__
        if isinstance(picture, np.ndarray):
            have = f"{picture.dtype} {picture.shape}"
        raise ShapeError(f"{key!r} must be uint8 {sides}, not {have}; resize on the robot's side.")


def find(message: dict[Any, Any], key: str) -> Any:
    """The entry under `key`, or under its parts between slashes. Raises ProtocolError."""
    if key in message:
        return message[key]
    entry: Any = message
    for part in key.split("/"):
        if not isinstance(entry, dict) or part not in entry:
            have = ", ".join(sorted(str(name) for name in message)) or "none"
            raise ProtocolError(f"The observation lacks {key!r}; its keys are: {have}.")
        entry = entry[part]
    return entry
