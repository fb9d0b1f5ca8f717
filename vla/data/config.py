"""Options of the data a policy is trained on."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.errors import ConfigError

if TYPE_CHECKING:
    from vla.data.loader import WindowLoader
    from vla.data.store import TrajectoryStore


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """How training images are varied; all zero leaves them as they are.

    Attributes:
        shift: largest shift in pixels, drawn per window and camera, along each axis.
        brightness: largest relative change of brightness, e.g. 0.2 for 0.8 to 1.2.
        contrast: largest relative change of contrast about the image's mean.
        labels: which labels are image coordinates, and of which camera. Their columns are
            (x, y) pairs in [-1, 1], x right, y down, and move with the picture.
    """

    shift: int = 4
    brightness: float = 0.2
    contrast: float = 0.2
    labels: dict[str, str] = field(default_factory=lambda: {"target": "front", "goal": "front"})

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ConfigError(f"augment.shift is {self.shift}; it must not be negative.")
        for name in ("brightness", "contrast"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(f"augment.{name} is {value}; it must be at least 0, below 1.")


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Which demonstrations, and how they are read.

    Attributes:
        path: folder of a trajectory store; has no default ("???" is Hydra's word for that).
        held_out: fraction of the episodes kept from training.
        threads: that prepare batches ahead; 0 for none.
        cache_gb: decoded frames kept in memory, at most this many gigabytes (1e9 bytes).
    """

    path: str = "???"
    held_out: float = 0.1
    threads: int = 1
    cache_gb: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out is {self.held_out}; at least 0 and below 1.")
        if self.threads < 0 or self.cache_gb < 0:
            raise ConfigError("data.threads and data.cache_gb must not be negative.")

    def open(self) -> "TrajectoryStore":
        """Open the store. Raises DataError."""
        from vla.data.store import TrajectoryStore

        return TrajectoryStore.open(self.path)

    def build(
        self,
        store: "TrajectoryStore",
        *,
        history: int,
        horizon: int,
        batch_size: int,
        seed: int,
        split: str = "train",
    ) -> "WindowLoader":
        """A loader of one split's windows ("train", "held_out" or "all")."""
        from vla.data.loader import WindowLoader

        return WindowLoader(
            store,
            history=history,
            horizon=horizon,
            batch_size=batch_size,
            seed=seed,
            episodes=store.split(split, self.held_out),
            threads=self.threads,
            cache_bytes=int(self.cache_gb * 1e9),
        )
