"""Actions as a network sees them: told from where the body is when the chunk begins.

A joint target says mostly where the arm already is; how far it is from there is the part
worth learning, and a plan of nothing but zeros then holds still. pi0 calls this delta actions
(openpi, `DeltaActions`), UMI and GR00T relative ones. A chunk is told from one state, that of
its first row, so errors do not add up along it.

Differences are taken axis by axis. Angles are not wrapped: a joint that crosses from pi to
-pi jumps by 2 pi here as it does in the data. For axes that together make up a rotation the
difference is no rotation either, but adding it back is exact all the same.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vla.data.stats import pair_axes
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, StatisticsError

if TYPE_CHECKING:
    from vla.data.stats import Statistics


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Which entries of an action are told from which entries of a state; none by default.

    Attributes:
        action, state: indices into the last dimension of each, in step.
    """

    action: tuple[int, ...] = ()
    state: tuple[int, ...] = ()

    @classmethod
    def of(cls, body: Embodiment) -> "Pairs":
        """See `vla.data.stats.pair_axes`."""
        found = pair_axes(body)
        return cls(action=tuple(found), state=tuple(found.values()))

    def names(self, body: Embodiment) -> tuple[str, ...]:
        """The paired action axes."""
        return tuple(body.action[index].name for index in self.action)

    def placed(self, action: NDArray[np.int64], state: NDArray[np.int64]) -> "Pairs":
        """The same pairs where entries lie at other places, e.g. the joint slots of a family."""
        return Pairs(
            action=tuple(action[list(self.action)].tolist()),
            state=tuple(state[list(self.state)].tolist()),
        )

    def axes(self, body: Embodiment) -> tuple[Axis, ...]:
        """The action axes as told here: paired ones reach from low - high to high - low."""
        return tuple(
            replace(axis, mode="relative", low=axis.low - axis.high, high=axis.high - axis.low)
            if index in self.action
            else axis
            for index, axis in enumerate(body.action)
        )

    def require(self, statistics: "Statistics", body: Embodiment, horizon: int) -> None:
        """Stop unless the action statistics are of actions told this way.

        Raises:
            StatisticsError: naming the axes whose statistics are of the other kind.
        """
        mine, theirs = self.names(body), statistics.relative
        absolute = [name for name in mine if name not in theirs]
        relative = [name for name in theirs if name not in mine]
        remedy = (
            f"Take them from pool_relative_statistics(parts, {horizon})."
            if mine
            else "Take them from pool_statistics(parts)."
        )
        if absolute:
            raise StatisticsError(
                f"The statistics of {body.name!r} are of absolute actions on the axes {absolute}; "
                f"with relative_actions they must be relative to the state. {remedy}"
            )
        if relative:
            raise StatisticsError(
                f"The statistics of {body.name!r} are of relative actions on the axes {relative}; "
                f"the policy predicts those as they are. {remedy}"
            )
        if mine and statistics.horizon != horizon:
            raise StatisticsError(
                f"The relative statistics of {body.name!r} (axes {list(mine)}) are over chunks of "
                f"{statistics.horizon} rows; the policy plans {horizon}. {remedy}"
            )


def pair(bodies: tuple[Embodiment, ...], *, relative: bool) -> list[Pairs]:
    """The pairs of each body; none of them without `relative`.

    Raises:
        ConfigError: when `relative` and there is not one pair in all the bodies.
    """
    if not relative:
        return [Pairs()] * len(bodies)
    pairs = [Pairs.of(body) for body in bodies]
    if not any(each.action for each in pairs):
        listing = "; ".join(
            f"{body.name!r} has the actions {_list(body.action)} and the state {_list(body.state)}"
            for body in bodies
        )
        raise ConfigError(
            "policy.relative_actions=true needs an absolute action axis with a state axis of the "
            f"same name and unit, but {listing}. Set policy.relative_actions=false."
        )
    return pairs


def to_relative(actions: Tensor, state: Tensor, pairs: Pairs) -> Tensor:
    """Paired entries of `actions` (..., H, A) less those of `state` (..., S), the newest one."""
    told = actions.clone()
    told[..., list(pairs.action)] -= state[..., None, list(pairs.state)]
    return told


def to_absolute(actions: Tensor, state: Tensor, pairs: Pairs) -> Tensor:
    """The way back from `to_relative`, up to rounding."""
    return to_relative(actions, -state, pairs)


def _list(axes: tuple[Axis, ...]) -> str:
    return ", ".join(f"{axis.name} ({axis.unit}, {axis.mode})" for axis in axes) or "none"
