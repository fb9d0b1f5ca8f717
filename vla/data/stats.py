"""Exact statistics of states and actions, for normalisation.

Over the chosen episodes only (the training split), never from a running or merged
estimate: quantiles of parts do not merge, and averaging them puts a third of the
data outside [q01, q99]. The sums are exactly rounded (`math.fsum`) and the quantiles
are order statistics, so the result does not depend on the order of the frames, to the
last bit.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.store import TrajectoryStore
from vla.embodiment import Embodiment
from vla.errors import StatisticsError

FIELDS = ("mean", "std", "min", "max", "q01", "q99")
Float64 = NDArray[np.float64]
Part = tuple[TrajectoryStore, Sequence[int] | NDArray[np.int64]]  # a store and its episodes


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorStatistics:
    """Statistics of one vector, axis by axis.

    Attributes:
        names: of the D axes.
        mean, std, min, max, q01, q99: float64 (D,), in the axes' units. `std` is that of the
            population; quantiles interpolate linearly between order statistics.
        count: frames they were taken over.
    """

    names: tuple[str, ...]
    mean: Float64
    std: Float64
    min: Float64
    max: Float64
    q01: Float64
    q99: Float64
    count: int

    def degenerate(self) -> list[str]:
        """Names of the axes that do not spread: std == 0 or q01 == q99."""
        flat = (self.std == 0) | (self.q01 == self.q99)
        return [name for name, dead in zip(self.names, flat, strict=True) if dead]

    def to_json(self) -> dict[str, Any]:
        """Plain values; floats survive exactly."""
        arrays = {key: getattr(self, key).tolist() for key in FIELDS}
        return {"names": list(self.names), "count": self.count, **arrays}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "VectorStatistics":
        """Rebuild from `to_json`'s value. Raises StatisticsError."""
        try:
            names = tuple(value["names"])
            arrays = {key: np.array(value[key], np.float64) for key in FIELDS}
            count = int(value["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise StatisticsError(f"Not the JSON of statistics: {error!r}.") from error
        if any(array.shape != (len(names),) for array in arrays.values()):
            raise StatisticsError(f"Statistics do not have one value for each of {names}.")
        return cls(names=names, count=count, **arrays)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Statistics of a store's states and actions.

    Attributes:
        state, action: one each.
        source: digest of the embodiment, the content of the episodes used and what was taken
            relative; equal data give equal digests, in any order.
        relative: action axes whose statistics are of chunk rows less the state that the chunk
            begins at (see `pool_relative_statistics`); those of all others are of the frames.
        horizon: rows of those chunks; 0 when no axis is relative.
    """

    state: VectorStatistics
    action: VectorStatistics
    source: str
    relative: tuple[str, ...] = ()
    horizon: int = 0

    def require_usable(self) -> None:
        """Stop when an axis cannot be normalised.

        Raises:
            StatisticsError: naming every axis with std == 0 or q01 == q99.
        """
        lines = [
            f"{what} axis {name!r}"
            for what, vector in (("state", self.state), ("action", self.action))
            for name in vector.degenerate()
        ]
        if lines:
            raise StatisticsError(
                f"No spread (std is 0, or the 1 % and 99 % quantiles are equal) in: "
                f"{', '.join(lines)}. A policy cannot learn or normalise such an axis: record "
                "episodes that move it, or leave it out of the embodiment."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values; floats survive exactly."""
        return {
            "state": self.state.to_json(),
            "action": self.action.to_json(),
            "source": self.source,
            "relative": list(self.relative),
            "horizon": self.horizon,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Statistics":
        """Rebuild from `to_json`'s value. Raises StatisticsError."""
        try:
            state, action, source = value["state"], value["action"], value["source"]
            # Statistics written before there were relative ones do not say so.
            relative = tuple(value.get("relative", ()))
            horizon = int(value.get("horizon", 0))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StatisticsError(f"Not the JSON of statistics: {error!r}.") from error
        return cls(
            state=VectorStatistics.from_json(state),
            action=VectorStatistics.from_json(action),
            source=str(source),
            relative=relative,
            horizon=horizon,
        )


def compute_statistics(
    store: TrajectoryStore, episodes: Sequence[int] | NDArray[np.int64]
) -> Statistics:
    """Statistics over all frames of the given episodes, e.g. `store.split("train")`.

    Those of actions leave out episodes without actions.

    Raises:
        StatisticsError: when there is no episode, or none with actions.
    """
    return pool_statistics([(store, episodes)])


def pool_statistics(parts: Sequence[Part]) -> Statistics:
    """Statistics over the episodes of several stores of equal axes, as if they were one.

    Raises:
        StatisticsError: when there is no episode, none with actions, or the axes differ.
    """
    first = parts[0][0].embodiment
    states, actions, uids = [], [], []
    for store, episodes in parts:
        body = store.embodiment
        if (body.state, body.action) != (first.state, first.action):
            raise StatisticsError(
                f"{store.location} has other axes than {parts[0][0].location}; "
                "their statistics cannot be pooled."
            )
        records, ends = store.records, store.episode_ends
        for number in map(int, episodes):
            rows = slice(ends[number] - records[number].length, ends[number])
            states.append(store.column("state")[rows])
            if records[number].has_action:
                actions.append(store.column("action")[rows])
            uids.append(records[number].uid)
    places = ", ".join(store.location for store, _ in parts)
    if not uids:
        raise StatisticsError(f"{places}: no episodes to take statistics over.")
    if not actions:
        raise StatisticsError(f"{places}: none of the {len(uids)} episodes has actions to imitate.")
    digest = hashlib.sha256("\n".join([first.hash, *sorted(uids)]).encode())
    return Statistics(
        state=summarize(np.concatenate(states), tuple(axis.name for axis in first.state)),
        action=summarize(np.concatenate(actions), tuple(axis.name for axis in first.action)),
        source=digest.hexdigest(),
    )


def pool_relative_statistics(parts: Sequence[Part], horizon: int) -> Statistics:
    """As `pool_statistics`, but paired action axes are told from where a chunk begins.

    For every axis of `pair_axes` the values are action[t + k] - state[t], over all frames t
    of the episodes with actions and all k < horizon with t + k inside the episode: the real
    rows of all training windows. They are exact, too, and take 8 bytes each, one axis at a
    time. `count` stays the number of frames.

    Raises:
        StatisticsError: as for `pool_statistics`, or a horizon below 1.
    """
    if horizon < 1:
        raise StatisticsError(f"The horizon of relative statistics is {horizon}; at least 1.")
    plain = pool_statistics(parts)
    body = parts[0][0].embodiment
    columns = {key: getattr(plain.action, key).copy() for key in FIELDS}
    pairs = pair_axes(body)
    for axis, partner in pairs.items():
        gaps = []
        for store, episodes in parts:
            for number in map(int, episodes):
                if store.records[number].has_action:
                    end = store.episode_ends[number]
                    rows = slice(end - store.records[number].length, end)
                    action = store.column("action")[rows, axis].astype(np.float64)
                    state = store.column("state")[rows, partner].astype(np.float64)
                    rest = len(action)
                    gaps += [action[k:] - state[: rest - k] for k in range(min(horizon, rest))]
        column = summarize(np.concatenate(gaps)[:, None], (body.action[axis].name,))
        for key in FIELDS:
            columns[key][axis] = getattr(column, key)[0]
    names = tuple(body.action[axis].name for axis in pairs)
    kept = "\n".join([plain.source, f"relative over {horizon} rows", *names])
    return replace(
        plain,
        action=replace(plain.action, **columns),
        source=hashlib.sha256(kept.encode()).hexdigest(),
        relative=names,
        horizon=horizon if names else 0,
    )


def pair_axes(body: Embodiment) -> dict[int, int]:
    """Which state axis says where an action axis is now: {action index: state index}.

    That is the absolute state axis of an absolute action axis's name and unit.
    """
    known = {(a.name, a.unit): i for i, a in enumerate(body.state) if a.mode == "absolute"}
    return {
        index: known[axis.name, axis.unit]
        for index, axis in enumerate(body.action)
        if axis.mode == "absolute" and (axis.name, axis.unit) in known
    }


def summarize(values: NDArray[np.floating], names: tuple[str, ...]) -> VectorStatistics:
    """Statistics of the columns of `values` (N, D), N at least 1."""
    table = values.astype(np.float64)
    count = len(table)
    mean = np.array([math.fsum(column) / count for column in table.T])
    squares = np.square(table - mean)
    variance = np.array([math.fsum(column) / count for column in squares.T])
    q01, q99 = np.quantile(table, (0.01, 0.99), axis=0)
    return VectorStatistics(
        names=names,
        mean=mean,
        std=np.sqrt(variance),
        min=table.min(axis=0),
        max=table.max(axis=0),
        q01=q01,
        q99=q99,
        count=count,
    )
