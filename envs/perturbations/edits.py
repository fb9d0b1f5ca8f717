"""Changes of a compiled MuJoCo model that can be taken back."""

from operator import attrgetter

import mujoco
import numpy as np


class ModelEdits:
    """Hands out a model's arrays to write into, and remembers what they held.

    Args:
        model: what is changed.
        data: its state, for edits that place bodies; states are not restored, a reset does that.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
        self.model, self.data = model, data
        self._before: dict[str, np.ndarray] = {}

    def array(self, name: str) -> np.ndarray:
        """The live array at `name`, e.g. "cam_pos" or "vis.headlight.ambient"."""
        array = attrgetter(name)(self.model)
        self._before.setdefault(name, array.copy())
        return array

    def undo(self) -> None:
        """Every array as it was when it was first handed out."""
        for name, values in self._before.items():
            attrgetter(name)(self.model)[...] = values
        self._before.clear()
