"""A store whose pictures are given at another size than they lie on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla.data.manifest import Manifest
from vla.data.storage import Storage
from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import ConfigError


def resize_cameras(embodiment: Embodiment, size: Sequence[int]) -> Embodiment:
    """The same body with every camera at `size`, (height, width) in pixels.

    The whole picture is kept, so another aspect ratio squeezes it. A policy trained on
    resized pictures states this embodiment, and only a world that offers it may run it.

    Raises:
        ConfigError: when `size` is not two numbers of at least 1.
    """
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"image_size is {list(size)}; give [height,width], at least 1 each.")
    height, width = size
    cameras = {name: each.resized(height, width) for name, each in embodiment.cameras.items()}
    return replace(embodiment, cameras=cameras)


class ResizedStore(TrajectoryStore):
    """Episodes as in the store, pictures resized while they are decoded.

    Nobody who reads through it needs to know: its `embodiment` is the resized one. It is a
    view for training; `append` still takes episodes at the stored size.
    """

    _image_size: tuple[int, ...] = ()

    @classmethod
    def open(  # type: ignore[override]
        cls,
        location: str | Path,
        options: dict[str, str] | None = None,
        *,
        image_size: Sequence[int] = (),
    ) -> "ResizedStore":
        """As `TrajectoryStore.open`; every camera is given as `resize_cameras` says.

        Raises:
            DataError: for the store. ConfigError: for the size.
        """
        store = super().open(location, options)
        assert isinstance(store, cls)
        resize_cameras(store.embodiment, image_size)  # says what is wrong with the size
        store._image_size = tuple(image_size)
        store._show(store._manifest, store._storage)
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.location, self._options, self._image_size)

    def _show(self, manifest: Manifest, storage: Storage) -> None:
        super()._show(manifest, storage)
        size, stored = self._image_size, manifest.embodiment
        # Kept: every batch asks for it.
        self._given = resize_cameras(stored, size) if size else stored
        self._reader.embodiment = self._given

    @property
    def embodiment(self) -> Embodiment:
        """What every number means, cameras at the size they are given in."""
        return self._given


def _reopen(location: str, options: dict[str, str] | None, size: tuple[int, ...]) -> ResizedStore:
    return ResizedStore.open(location, options, image_size=size)
