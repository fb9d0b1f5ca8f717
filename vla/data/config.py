"""Options of the data a policy is trained on."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from vla.data.training_data import TrainingData


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
    """Base: how demonstrations are read, wherever they lie.

    Attributes:
        kind: "store" or "mixture".
        held_out: fraction of the episodes of each store kept from training.
        threads: that prepare batches ahead; 0 for none.
        cache_gb: decoded frames kept in memory, at most this many gigabytes (1e9 bytes).
    """

    kind: str = ""
    held_out: float = 0.1
    threads: int = 1
    cache_gb: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out is {self.held_out}; at least 0 and below 1.")
        if self.threads < 0 or self.cache_gb < 0:
            raise ConfigError("data.threads and data.cache_gb must not be negative.")

    def open(self) -> "TrainingData":
        """Open the stores. Raises DataError."""
        raise ConfigError("No data is chosen; give data.path=STORE, or data=mixture.")


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
        """Open the store. Raises DataError."""
        from vla.data.store import TrajectoryStore
        from vla.data.training_data import TrainingData

        return TrainingData([TrajectoryStore.open(self.path)], self)


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
        image_size: height and width of every role, pixels.
    """

    kind: str = "mixture"
    root: str = "???"
    weights: dict[str, float] = field(default_factory=dict)
    weights_are: str = "epochs"
    cameras: dict[str, list[str]] = field(default_factory=dict)
    image_size: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        choose("meaning of data.weights:", self.weights_are, dict.fromkeys(("epochs", "shares")))
        if not self.weights:
            raise ConfigError(
                "data.weights is empty; name the stores below data.root, e.g. "
                "'data.weights={bridge: 1.0, fractal: 0.5}'."
            )
        if min(self.image_size) < 1:
            raise ConfigError(f"data.image_size is {self.image_size}; at least 1 pixel each.")

    def open(self) -> "TrainingData":
        """Open the stores. Raises DataError."""
        from vla.data.store import TrajectoryStore
        from vla.data.training_data import TrainingData

        root = self.root.rstrip("/")
        stores = [TrajectoryStore.open(f"{root}/{name}") for name in self.weights]
        return TrainingData(stores, self)


ROLES = {
    "primary": ["primary", "front", "top", "high"],
    "wrist": ["wrist", "hand"],
}
"""Common names of cameras, by the role they play."""
