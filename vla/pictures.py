"""Pictures that are drawn when somebody looks at them.

Drawing is most of what a simulation costs, and a policy that executes sixteen rows of a plan
looks at one frame in sixteen.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = dict[str, NDArray[np.uint8]]


class LatePictures(Mapping[str, NDArray[np.uint8]]):
    """Per camera uint8 (T, H, W, 3), drawn together at the first look and kept.

    Whoever makes one sees to it that a late look still shows the instant of the observation
    (`redirect` before the scene moves on). Pickled, it becomes a plain dict.

    Args:
        names: of the cameras.
        draw: makes all pictures.
    """

    def __init__(self, names: tuple[str, ...], draw: Callable[[], Pictures]):
        self._names = names
        self._draw = draw
        self._drawn: Pictures | None = None

    @property
    def drawn(self) -> bool:
        """Whether anybody has looked."""
        return self._drawn is not None

    def redirect(self, draw: Callable[[], Pictures]) -> None:
        """Draw from elsewhere from now on, e.g. from a copy of the scene's state."""
        self._draw = draw

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        if name not in self._names:
            raise KeyError(name)
        if self._drawn is None:
            self._drawn = self._draw()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
