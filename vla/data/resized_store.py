"""A store whose cameras are smaller than what lies on disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vla.data.store import TrajectoryStore
from vla.embodiment import Camera, Embodiment
from vla.errors import ConfigError


def resize_cameras(embodiment: Embodiment, size: int) -> Embodiment:
    """The same body with every camera `size` x `size` pixels; 0 leaves it as it is.

    The whole picture is kept, so one that is not square is squeezed. Intrinsics are scaled
    along, with (0, 0) the outer corner of the first pixel. A policy trained on resized
    pictures states this embodiment, and only a world that offers it may run the policy.

    Raises:
        ConfigError: when a camera is smaller than that along a side.
    """
    if size < 0:
        raise ConfigError(f"image_size is {size}; it must not be negative.")
    if not size:
        return embodiment
    cameras = {name: _resize(name, camera, size) for name, camera in embodiment.cameras.items()}
    return replace(embodiment, cameras=cameras)


def _resize(name: str, camera: Camera, size: int) -> Camera:
    if size > min(camera.height, camera.width):
        raise ConfigError(
            f"image_size is {size}, but camera {name!r} is stored at "
            f"{camera.height}x{camera.width}. Enlarging adds nothing: give at most "
            f"{min(camera.height, camera.width)}, or 0 for the stored size."
        )
    intrinsics = None
    if camera.intrinsics is not None:
        right, down = size / camera.width, size / camera.height
        fx, fy, cx, cy = camera.intrinsics
        intrinsics = (fx * right, fy * down, cx * right, cy * down)
    return replace(camera, height=size, width=size, intrinsics=intrinsics)


class ResizedStore(TrajectoryStore):
    """Episodes as in the store, pictures shrunk while they are decoded.

    Nobody who reads through it needs to know: its `embodiment` is the resized one. It is a
    view for training; `append` still takes episodes at the stored size.
    """

    _image_size = 0
    _resized: Embodiment | None = None

    @classmethod
    def open(cls, path: str | Path, image_size: int = 0) -> "ResizedStore":
        """As `TrajectoryStore.open`; every camera is given as `resize_cameras` says.

        Raises:
            DataError: for the store. ConfigError: for the size.
        """
        store = super().open(path)
        assert isinstance(store, cls)
        store._resized = resize_cameras(store.embodiment, image_size)
        store._image_size = image_size
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return ResizedStore.open, (str(self.path), self._image_size)

    @property
    def embodiment(self) -> Embodiment:
        """What every number means, cameras at the size they are given in."""
        return self._resized or super().embodiment
