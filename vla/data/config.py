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

    Everything is drawn per window and camera and shared by the window's history. The parts
    apply in the order below.

    Attributes:
        crop: smallest part of the picture's area to keep, cut out at random and enlarged to
            the full size; 1 keeps all of it.
        rotate: largest angle in degrees, either way, about the centre; edges are repeated.
        shift: largest shift in pixels along each axis; edges are repeated.
        brightness: largest relative change of brightness, e.g. 0.2 for 0.8 to 1.2.
        contrast: largest relative change of contrast about the image's mean.
        saturation: largest relative change of colourfulness.
        hue: largest turn of the colour circle, as a fraction of a full turn (at most 0.5).
        jpeg: compress again with a quality drawn from 100 - jpeg to 100, 0 for not at all; on
            the CPU only, where it costs about twice as much as loading.
        erase: probability of covering a rectangle of 2 to 20 % of the picture with one colour.
        labels: which labels are image coordinates, and of which camera. Their columns are
            (x, y) pairs in [-1, 1], x right, y down, and move with the picture.
    """

    crop: float = 1.0
    rotate: float = 0.0
    shift: int = 4
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.0
    hue: float = 0.0
    jpeg: int = 0
    erase: float = 0.0
    labels: dict[str, str] = field(default_factory=lambda: {"target": "front", "goal": "front"})

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ConfigError(f"augment.shift is {self.shift}; it must not be negative.")
        if not 0 < self.crop <= 1:
            raise ConfigError(f"augment.crop is {self.crop}; it must be above 0, at most 1.")
        limits = {"jpeg": 99, "rotate": 180, "hue": 0.5, "erase": 1}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ConfigError(
                    f"augment.{name} is {getattr(self, name)}; it must be 0 to {limit}."
                )
        for name in ("brightness", "contrast", "saturation"):
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
        image_size: shrink every camera's pictures to this many pixels a side, and say so in the
            policy's embodiment; 0 takes them as stored. See `resize_cameras`.
        pin_memory: let a GPU fetch batches by itself; does nothing without CUDA.
    """

    path: str = "???"
    held_out: float = 0.1
    threads: int = 1
    cache_gb: float = 1.0
    image_size: int = 0
    pin_memory: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out is {self.held_out}; at least 0 and below 1.")
        for name in ("threads", "cache_gb", "image_size"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} is {getattr(self, name)}; it must not be negative.")

    def open(self) -> "TrajectoryStore":
        """Open the store, its cameras at `image_size`. Raises DataError or ConfigError."""
        from vla.data.resized_store import ResizedStore
        from vla.data.store import TrajectoryStore

        if self.image_size:
            return ResizedStore.open(self.path, self.image_size)
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
            pin_memory=self.pin_memory,
        )
