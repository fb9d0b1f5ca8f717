"""What might be wrong between a policy and its world, each as the change that would mend it.

A cause is named only because undoing it helps: the policy plans on the same recorded pictures with
and without the repair, and its error against the demonstrator's actions is compared. The list
holds what has cost others most (conventions of grippers, cameras, pictures, axes, statistics).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vla.embodiment import Embodiment
from vla.types import Observation, Uint8

Float64 = NDArray[np.float64]
Look = Callable[[Observation], Observation]
Turn = Callable[[Float64], Float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """One hypothesis.

    Attributes:
        cause: what would be wrong, a key of `triage.CAUSES`.
        detail: where: a camera, an axis.
        look: changes what the policy sees, or None.
        turn: changes its plans (n, H, A), or None.
        axes: the only ones that the repair concerns; None: all. Their error is what counts: an
            arm of seven axes that mixes up two of them is five sevenths right.
    """

    cause: str
    detail: str
    look: Look | None = None
    turn: Turn | None = None
    axes: tuple[int, ...] | None = None


def list_view_repairs(body: Embodiment) -> Iterator[Repair]:
    """Repairs of what the policy sees; each needs planning anew."""
    for first, second in combinations(sorted(body.cameras), 2):
        a, b = body.cameras[first], body.cameras[second]
        if (a.height, a.width) == (b.height, b.width):
            look = _see(lambda images, a=first, b=second: {**images, a: images[b], b: images[a]})
            yield Repair(cause="camera order", detail=f"{first} and {second} swapped", look=look)
    changes: dict[str, tuple[str, Callable[[Uint8], Uint8]]] = {
        "channel order": ("BGR for RGB", lambda x: x[..., ::-1]),
        "upside down": ("turned by 180 degrees", lambda x: x[:, ::-1, ::-1]),
        "mirrored": ("left and right", lambda x: x[:, :, ::-1]),
    }
    for cause, (detail, change) in changes.items():
        for cameras in [sorted(body.cameras), *([name] for name in sorted(body.cameras))]:
            if len(body.cameras) == 1 and len(cameras) == 1 and cameras != sorted(body.cameras):
                continue
            look = _see(
                lambda images, names=cameras, change=change: {
                    name: np.ascontiguousarray(change(image)) if name in names else image
                    for name, image in images.items()
                }
            )
            yield Repair(cause=cause, detail=f"{', '.join(cameras)}: {detail}", look=look)


def list_plan_repairs(body: Embodiment, plans: Float64, target: Float64) -> Iterator[Repair]:
    """Repairs of plans (n, H, A) that are made already; `target` has the same shape.

    Late plans are not among them, see `triage.find_shift`: they compare other rows.
    """
    axes = body.action
    for index, axis in enumerate(axes):
        kind = "gripper sign" if "gripper" in axis.name else "axis sign"
        middle = axis.low + axis.high
        turn = _turn_axis(index, -1.0, middle if np.isfinite(middle) else 0.0)
        yield Repair(cause=kind, detail=axis.name, turn=turn, axes=(index,))
    for i, j in combinations(range(len(axes)), 2):
        if (axes[i].unit, axes[i].mode) == (axes[j].unit, axes[j].mode):
            order = list(range(len(axes)))
            order[i], order[j] = j, i
            yield Repair(
                cause="axis order",
                detail=f"{axes[i].name} and {axes[j].name}",
                turn=lambda plans, order=order: plans[..., order],
                axes=(i, j),
            )
    slope, offset = fit_axes(plans, target)
    # An unsure policy plans a little too little; that is no error of units.
    wrong = (slope < 0.7) | (slope > 1.4) | (np.abs(offset) > 0.3 * target.std(0))
    slope, offset = np.where(wrong, slope, 1.0), np.where(wrong, offset, 0.0)
    yield Repair(
        cause="action statistics",
        detail=", ".join(
            f"{axis.name} x{k:.2f} {b:+.2g}"
            for axis, k, b in zip(axes, slope, offset, strict=True)
            if k != 1.0 or b != 0.0
        ) or "none",
        turn=lambda plans: plans * slope + offset,
    )  # fmt: skip


def match_state(live: Float64, reference: Float64) -> Repair:
    """Shift and stretch the state (n, S) so that its moments are those of the training data."""
    spread, expected = live.std(0), reference.std(0)
    ratio = np.where(spread > 1e-9, expected / np.maximum(spread, 1e-9), 1.0)
    # Only axes that are clearly elsewhere: equal scenes never give exactly equal moments.
    off = np.abs(live.mean(0) - reference.mean(0)) > 2.0 * np.maximum(expected, 1e-3)
    off |= (ratio > 3.0) | (ratio < 1.0 / 3.0)
    ratio = np.where(off, ratio, 1.0)
    offset = np.where(off, reference.mean(0) - live.mean(0) * ratio, 0.0)

    def look(observation: Observation) -> Observation:
        state = (observation.state * ratio + offset).astype(np.float32)
        return replace(observation, state=state)

    return Repair(
        cause="state statistics", detail=f"axes {np.flatnonzero(off).tolist()}", look=look
    )


def fit_axes(plans: Float64, target: Float64) -> tuple[Float64, Float64]:
    """Slope (A,) >= 0 and offset (A,) of the least-squares line from plans to target per axis."""
    p, t = (x.reshape(-1, x.shape[-1]) for x in (plans, target))
    variance = p.var(0)
    shared = ((p - p.mean(0)) * (t - t.mean(0))).mean(0)
    slope = np.where(variance > 1e-12, np.maximum(shared / np.maximum(variance, 1e-12), 0.0), 1.0)
    return slope, t.mean(0) - slope * p.mean(0)


def _see(change: Callable[[dict[str, Uint8]], dict[str, Uint8]]) -> Look:
    def look(observation: Observation) -> Observation:
        return replace(observation, images=change(dict(observation.images)))

    return look


def _turn_axis(index: int, factor: float, offset: float) -> Turn:
    def turn(plans: Float64) -> Float64:
        turned = plans.copy()
        turned[..., index] = factor * turned[..., index] + offset
        return turned

    return turn
