"""Opened stores as a training run sees them: bodies, statistics, batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.config import ROLES, DataConfig, MixtureConfig
from vla.data.loader import WindowLoader
from vla.data.mixture import MixtureLoader
from vla.data.stats import Part, Statistics, pool_relative_statistics, pool_statistics
from vla.data.store import TrajectoryStore
from vla.data.window_reader import WindowReader
from vla.embodiment import Embodiment
from vla.errors import DataError
from vla.family import Family, find_views


class TrainingData:
    """One store, or several that make up a mixture.

    Attributes:
        stores: in the order of the config.
        family: the bodies of a mixture; None for a single store.
    """

    def __init__(self, stores: list[TrajectoryStore], config: DataConfig):
        self.stores = stores
        self._config = config
        self.family: Family | None = None
        self._members = [0] * len(stores)
        if isinstance(config, MixtureConfig):
            bodies = [store.embodiment for store in stores]
            height, width = config.image_size
            self.family, self._members = Family.unite(
                bodies, config.cameras or ROLES, (height, width)
            )

    @property
    def body(self) -> Embodiment | Family:
        """What a policy is built for."""
        return self.family or self.stores[0].embodiment

    def episodes(self, store: TrajectoryStore, split: str) -> NDArray[np.int64]:
        """Episode numbers of "train", "held_out" or "all"."""
        return store.split(split, self._config.held_out)

    def count(self, split: str) -> int:
        """Episodes of a split over all stores."""
        return sum(len(self.episodes(store, split)) for store in self.stores)

    def statistics(self, *, relative_rows: int = 0) -> list[Statistics]:
        """Of the training split, one per body; stores of one body are pooled.

        Args:
            relative_rows: rows of the chunks whose actions are told from the state, see
                `pool_relative_statistics`; 0 when they are not.
        """
        parts: dict[int, list[Part]] = {}
        for store, member in zip(self.stores, self._members, strict=True):
            parts.setdefault(member, []).append((store, self.episodes(store, "train")))
        if relative_rows:
            return [pool_relative_statistics(parts[i], relative_rows) for i in sorted(parts)]
        return [pool_statistics(parts[member]) for member in sorted(parts)]

    def load(
        self,
        split: str,
        *,
        history: int,
        horizon: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> WindowLoader | MixtureLoader:
        """Batches of one split. Raises DataError when it is empty in every store."""
        config = self._config
        chosen = [i for i, store in enumerate(self.stores) if len(self.episodes(store, split))]
        if not chosen:
            raise DataError(f"The split {split!r} is empty; is data.held_out what you mean?")
        order = {"batch_size": batch_size, "seed": seed}
        supply = {"threads": config.threads, "pin_memory": config.pin_memory}
        sizes = {"history": history, "horizon": horizon, "plans": config.plans}
        cache_bytes = int(config.cache_gb * 1e9 / len(chosen))
        if self.family is None or not isinstance(config, MixtureConfig):
            store = self.stores[0]
            sizes |= {"episodes": self.episodes(store, split), "cache_bytes": cache_bytes}
            return WindowLoader(store, **sizes, **order, **supply)
        views = [find_views(config.cameras or ROLES, self.stores[i].embodiment) for i in chosen]
        readers = [
            WindowReader(
                self.stores[i],
                episodes=self.episodes(self.stores[i], split),
                cameras=[name for name in named.values() if name],
                cache_bytes=cache_bytes,
                **sizes,
            )
            for i, named in zip(chosen, views, strict=True)
        ]
        weights = self._weights()
        return MixtureLoader(
            readers,
            [self._members[i] for i in chosen],
            views,
            self.family,
            weights=[
                weights[i] * (len(reader) if config.weights_are == "epochs" else 1)
                for i, reader in zip(chosen, readers, strict=True)
            ],
            rank=rank,
            ranks=ranks,
            **order,
            **supply,
        )

    def _weights(self) -> list[float]:
        config = self._config
        return list(config.weights.values()) if isinstance(config, MixtureConfig) else [1.0]

    def describe(self, statistics: Sequence[Statistics]) -> dict[str, Any]:
        """What a checkpoint keeps of its data and their `statistics`, JSON values."""
        body = self.body
        kept = {"family" if isinstance(body, Family) else "embodiment": body.to_json()}
        return {
            **kept,
            "statistics": [known.to_json() for known in statistics],
            "data": {
                "stores": {store.name: store.hash for store in self.stores},
                "held_out": self._config.held_out,
                "weights": self._weights(),
            },
        }
