"""Pictures of one scene, from a GL context of its own."""

import weakref

import mujoco
import numpy as np

from envs.body import GL_REMEDY
from vla.errors import RenderError
from vla.types import Uint8

# What MuJoCo and PyOpenGL raise when a library is missing or a display does not open.
GL_ERRORS = (ImportError, AttributeError, OSError, RuntimeError, mujoco.FatalError)


class SceneRenderer:
    """Draws `model` with mujoco.Renderer, which makes its own context current before each frame.

    Shadow map size and samples are the model's (see `scene.build_scene`). Reflections cost a pass
    of their own, and nothing on our table reflects.

    Raises:
        RenderError: when no GL context opens, naming the packages to install.
    """

    def __init__(
        self, model: mujoco.MjModel, *, height: int, width: int, reflections: bool = False
    ):
        try:
            self._renderer = mujoco.Renderer(model, height=height, width=width)
        except GL_ERRORS as error:
            raise RenderError(f"MuJoCo opens no GL context ({error}). {GL_REMEDY}") from error
        # Contexts must go before the interpreter takes the GL modules apart, or EGL complains.
        self._close = weakref.finalize(self, self._renderer.close)
        # Without a shadow map MuJoCo draws no shadows whatever the flag says.
        scene = self._renderer.scene
        scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = reflections
        scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = model.vis.quality.shadowsize > 0

    def render(self, data: mujoco.MjData, camera: str | mujoco.MjvCamera) -> Uint8:
        """The view of `camera` (a name or a free one), uint8 (H, W, 3), RGB, upright; fresh."""
        self._renderer.update_scene(data, camera)
        return np.ascontiguousarray(self._renderer.render())

    def close(self) -> None:
        """Free the GL context; idempotent."""
        self._close()
