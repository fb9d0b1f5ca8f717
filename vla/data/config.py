"""Options of the data a policy is trained on."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from vla.data.store import TrajectoryStore
    from vla.data.training_data import TrainingData


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
    """Base: how demonstrations are read, wherever they lie.

    Attributes:
        kind: "store" or "mixture".
        held_out: fraction of the episodes of each store kept from training.
        threads: that prepare batches ahead; 0 for none.
        cache_gb: decoded frames kept in memory, at most this many gigabytes (1e9 bytes).
        image_size: [height, width] in pixels to bring every camera's pictures to, which the
            policy's embodiment then says; [] takes them as stored. See `resize_cameras`.
        pin_memory: let a GPU fetch batches by itself; does nothing without CUDA.
        plans: the subtask under way is to be written before the actions; see policy.plan_words.
    """

    kind: str = ""
    held_out: float = 0.1
    threads: int = 1
    cache_gb: float = 1.0
    image_size: list[int] = field(default_factory=list)
    pin_memory: bool = True
    plans: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out is {self.held_out}; at least 0 and below 1.")
        for name in ("threads", "cache_gb"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} is {getattr(self, name)}; it must not be negative.")
        if self.image_size and (len(self.image_size) != 2 or min(self.image_size) < 1):
            raise ConfigError(f"data.image_size is {self.image_size}; give [height,width] or [].")

    def open(self) -> "TrainingData":
        """Open the stores. Raises DataError or ConfigError."""
        raise ConfigError("No data is chosen; give data.path=STORE, or data=mixture.")

    def _open_store(self, location: str) -> "TrajectoryStore":
        from vla.data.resized_store import ResizedStore
        from vla.data.store import TrajectoryStore

        if self.image_size:
            return ResizedStore.open(location, image_size=self.image_size)
        return TrajectoryStore.open(location)


@dataclass(kw_only=True, slots=True)
class StoreConfig(DataConfig):
    """The demonstrations of one store.

    Attributes:
        path: folder or URL (s3://, gs://, http://, hf://) of a trajectory store; has no default
            ("???" is Hydra's word for that).
    """

    kind: str = "store"
    path: str = "???"

    def open(self) -> "TrainingData":
        """Open the store. Raises DataError or ConfigError."""
        from vla.data.training_data import TrainingData

        return TrainingData([self._open_store(self.path)], self)


@dataclass(kw_only=True, slots=True)
class MixtureConfig(DataConfig):
    """Several stores, of one body or of many, drawn from with set shares.

    Attributes:
        root: folder or URL that holds the stores.
        weights: per store's name below `root`, its weight.
        weights_are: "epochs": a store is drawn weight x its number of windows, so that 1 for
            all reads each equally often (the convention of Octo and OpenVLA); "shares": the
            weights themselves are the proportions.
        cameras: per role the policy sees, the stores' names for it; the first one found is
            taken. A body without one is shown black there. Empty: see ROLES.
    """

    kind: str = "mixture"
    root: str = "???"
    weights: dict[str, float] = field(default_factory=dict)
    weights_are: str = "epochs"
    cameras: dict[str, list[str]] = field(default_factory=dict)
    image_size: list[int] = field(default_factory=lambda: [224, 224])

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        choose("meaning of data.weights:", self.weights_are, dict.fromkeys(("epochs", "shares")))
        if not self.weights:
            raise ConfigError(
                "data.weights is empty; name the stores below data.root, e.g. "
                "'data.weights={bridge: 1.0, fractal: 0.5}'."
            )
        if not self.image_size:
            raise ConfigError("A mixture needs one data.image_size for all, e.g. [224,224].")

    def open(self) -> "TrainingData":
        """Open the stores. Raises DataError or ConfigError."""
        from vla.data.training_data import TrainingData

        root = self.root.rstrip("/")
        return TrainingData([self._open_store(f"{root}/{name}") for name in self.weights], self)


ROLES = {
    "primary": ["primary", "front", "top", "high"],
    "wrist": ["wrist", "hand"],
}
"""Common names of cameras, by the role they play."""
