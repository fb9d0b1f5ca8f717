"""Pictures of a MuJoCo scene: one renderer of our own, and only what is looked at.

Gymnasium's off-screen viewer never makes its GL context current, so that two environments in
one process draw each other's meshes; `SceneRenderer` does.
"""

import weakref
from collections.abc import Mapping

import mujoco
import numpy as np

from envs.renderer import SceneRenderer
from vla.embodiment import Camera
from vla.errors import ContractError
from vla.pictures import LatePictures, Pictures
from vla.types import Float32

View = str | mujoco.MjvCamera
SPARE = 4
"""Used copies of a scene's state to keep: a rollout needs two, and each holds about 1 MB."""


class SceneView:
    """The cameras of one model.

    Shadows and anti-aliasing cost up to 25 times the rest in software; quality "fast" draws
    neither (nor reflections), "full" is what the benchmark's own files ask for.

    Args:
        model: quality "fast" changes its `vis.quality`.
        data: what is shown; owned by the caller, who calls `keep` before it changes, and `settle`
            before the model does.
        cameras: by name, with their sizes.
        views: the model's camera (or a free one) of each name.
        quality: "fast" or "full".
        turned: names of cameras that are mounted upside down; their pictures are turned by 180
            degrees.

    Raises:
        RenderError: at the first picture, when no GL context opens.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        *,
        cameras: Mapping[str, Camera],
        views: Mapping[str, View],
        quality: str,
        turned: frozenset[str] = frozenset(),
    ):
        if quality == "fast":
            model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        largest = [max(getattr(c, side) for c in cameras.values()) for side in ("width", "height")]
        buffer = model.vis.global_
        buffer.offwidth = max(buffer.offwidth, largest[0])
        buffer.offheight = max(buffer.offheight, largest[1])
        self._model, self._data = model, data
        self._cameras, self._views, self._turned = cameras, views, turned
        self._quality = quality
        self._renderers: dict[tuple[int, int], SceneRenderer] = {}
        self._latest: weakref.ref[LatePictures] | None = None
        self._past: list[weakref.ref[LatePictures]] = []
        self._spare: list[mujoco.MjData] = []
        self._closed = False

    def look(self) -> LatePictures:
        """The present scene, uint8 (1, H, W, 3) per camera; drawn when they are looked at."""
        pictures = LatePictures(tuple(self._cameras), lambda: self._draw(self._data))
        self._latest = weakref.ref(pictures)
        return pictures

    def keep(self) -> None:
        """To be called before the scene changes: unseen pictures get a copy of it."""
        latest = self._latest() if self._latest is not None else None
        self._latest = None
        if latest is not None and not latest.drawn:
            # A copy into a used MjData takes 7 microseconds; making one takes 400.
            past = self._spare.pop() if self._spare else mujoco.MjData(self._model)
            mujoco.mj_copyData(past, self._model, self._data)
            latest.redirect(lambda: self._draw(past))
            weakref.finalize(latest, self._give_back, past)
            self._past = [*(one for one in self._past if one() is not None), weakref.ref(latest)]

    def settle(self) -> None:
        """To be called before the model changes: what somebody may still look at is drawn now."""
        self.keep()
        for one in self._past:
            pictures = one()
            if pictures is not None and not pictures.drawn:
                dict(pictures)
        self._past.clear()

    def _give_back(self, past: mujoco.MjData) -> None:
        if len(self._spare) < SPARE:
            self._spare.append(past)

    def project(self, point: np.ndarray, name: str) -> Float32:
        """World point (3,), metres, to (u, v) in the picture of a square named camera.

        float32 (2,), u to the right and v downwards, -1 and 1 at the edges; kept within [-2, 2].
        """
        view = self._views[name]
        if not isinstance(view, str):
            raise ContractError(f"Camera {name!r} is a free one; points are told of named ones.")
        camera = self._data.camera(view)
        x, y, z = camera.xmat.reshape(3, 3).T @ (point - camera.xpos)
        half = np.tan(np.radians(self._model.camera(view).fovy.item()) / 2)
        place = np.array([x, -y]) / (half * max(-z, 1e-6))
        return np.clip(-place if name in self._turned else place, -2.0, 2.0).astype(np.float32)

    def close(self) -> None:
        """Free the GL contexts; idempotent."""
        self._closed = True
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _draw(self, data: mujoco.MjData) -> Pictures:
        if self._closed:
            raise ContractError("The world was closed before anybody looked at this picture.")
        pictures = {}
        for name, camera in self._cameras.items():
            size = (camera.height, camera.width)
            if size not in self._renderers:
                self._renderers[size] = SceneRenderer(
                    self._model, height=size[0], width=size[1], reflections=self._quality == "full"
                )
            picture = self._renderers[size].render(data, self._views[name])
            if name in self._turned:
                picture = np.ascontiguousarray(picture[::-1, ::-1])
            pictures[name] = picture[None]
        return pictures
