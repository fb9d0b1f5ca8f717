"""What tokenizers are fitted on: a store's chunks as a policy's head sees them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.config import VlaPolicyConfig
from policies.normalizer import Normalizer
from policies.relative import pair, to_relative
from vla.data.stats import pool_relative_statistics, pool_statistics
from vla.data.store import TrajectoryStore
from vla.data.window_reader import WindowReader
from vla.errors import DataError


def read_chunks(
    store: TrajectoryStore,
    episodes: NDArray[np.int64],
    policy: VlaPolicyConfig,
    *,
    count: int,
    statistics_of: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Tensor:
    """Normalised chunks float32 (N, H, A) without padding.

    Args:
        store: the demonstrations.
        episodes: whose chunks.
        policy: whose horizon, normalization, bounded_axes and relative_actions to follow.
        count: most windows to draw, evenly over the episodes; those that reach over their
            episode's end are left out.
        statistics_of: the episodes to take the statistics over, those of the training split;
            `episodes` without it.
        seed: of the draw.

    Raises:
        DataError: when no episode is as long as a chunk.
        StatisticsError, ConfigError: as for a policy of that config.
    """
    body, rows = store.embodiment, policy.horizon
    (pairs,) = pair((body,), relative=policy.relative_actions)
    part = [(store, episodes if statistics_of is None else statistics_of)]
    relative = policy.relative_actions
    statistics = pool_relative_statistics(part, rows) if relative else pool_statistics(part)
    normalizer = Normalizer(
        pairs.axes(body), what="action", mode=policy.normalization, bounded=policy.bounded_axes
    )
    normalizer.fill(statistics.action)
    reader = WindowReader(store, history=1, horizon=rows, episodes=episodes, cameras=[])
    order = np.random.default_rng(seed).permutation(len(reader))[:count]
    batch = reader.read(np.sort(order))
    whole = (batch.mask > 0).flatten(1).all(dim=1)
    if not whole.any():
        raise DataError(
            f"{store} has no episode of at least {rows} steps among those chosen; take a shorter "
            "horizon."
        )
    with torch.no_grad():
        return normalizer(to_relative(batch.actions, batch.state[:, -1], pairs))[whole]
