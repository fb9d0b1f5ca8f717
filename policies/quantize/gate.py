"""What a quantized or compiled policy must pass before it is written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from policies.family_policy import FamilyPolicy
from policies.quantize.config import RecipeConfig
from policies.quantize.quantizer import LayerReport
from policies.vla_policy import VlaPolicy
from vla.contract import Policy
from vla.errors import ConfigError
from vla.evaluation.action_error import ActionError
from vla.evaluation.noninferiority import NonInferiority
from vla.types import Float32


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The evidence and the verdict.

    Attributes:
        layers: relative error of each quantized layer.
        layer_limit: largest that passes. One wrong scale shows here at once, even where the
            rest of the network hides it.
        action: error of plans on held-out observations.
        action_limit: largest 99th percentile that passes, part of the normalised range.
        closed_loop: on paired scenes; None when it was not tried, which is recorded.
    """

    layers: Sequence[LayerReport]
    layer_limit: float
    action: ActionError
    action_limit: float
    closed_loop: NonInferiority | None

    @property
    def faults(self) -> list[str]:
        """Why it does not pass, in words; empty when it does."""
        found = []
        errors = {layer.name: layer.error for layer in self.layers}
        if unfed := [name for name, error in errors.items() if error is None]:
            found.append(f"{len(unfed)} layers were never fed by calibration, e.g. {unfed[0]}")
        bad = {n: e for n, e in errors.items() if e is not None and not e <= self.layer_limit}
        if bad:
            worst = max(bad, key=bad.__getitem__)
            found.append(
                f"{len(bad)} layers err by more than {self.layer_limit:g}, the worst is "
                f"{worst} with {bad[worst]:.3g}"
            )
        if not self.action.p99 <= self.action_limit:
            found.append(
                f"1 % of the actions err by more than {self.action.p99:.3g} of their range, "
                f"allowed is {self.action_limit:g}"
            )
        if self.closed_loop is not None and not self.closed_loop.passed:
            found.append(f"in closed loop it is {self.closed_loop.sentence}")
        return found

    def to_json(self, *, override: bool) -> dict[str, Any]:
        """Plain JSON values; `override` says that it was written in spite of faults."""
        return {
            "passed": not self.faults,
            "faults": self.faults,
            "override": override and bool(self.faults),
            "layer_limit": self.layer_limit,
            "action_error": self.action.to_json(),
            "action_limit": self.action_limit,
            "closed_loop": self.closed_loop and self.closed_loop.to_json(),
        }


def judge(
    recipe: RecipeConfig,
    layers: Sequence[LayerReport],
    action: ActionError,
    *,
    action_limit: float,
    closed_loop: NonInferiority | None,
) -> Gate:
    """Put the evidence together. Raises ConfigError for a limit that is no part of 1."""
    if not 0 < action_limit < 1:
        raise ConfigError(f"action_limit is {action_limit}; give a part of the range, e.g. 0.02.")
    return Gate(
        layers=layers,
        layer_limit=recipe.layer_limit,
        action=action,
        action_limit=action_limit,
        closed_loop=closed_loop,
    )


def describe_errors(layers: Sequence[LayerReport]) -> dict[str, Any]:
    """The error report that lies beside the weights."""
    known = [layer.error for layer in layers if layer.error is not None]
    return {
        "layers": [asdict(layer) for layer in layers],
        "worst": max(known, default=None),
        "mean": sum(known) / len(known) if known else None,
    }


def action_ranges(policy: Policy) -> Float32:
    """What counts as 1 on each action axis (A,): the width of the normalised range [-1, 1].

    Raises:
        ConfigError: for a policy without normalizers of ours.
    """
    if isinstance(policy, FamilyPolicy):
        normalizer = policy.action.members[policy.family.find(policy.embodiment)]
    elif isinstance(policy, VlaPolicy):
        normalizer = policy.action_normalizer
    else:
        raise ConfigError(
            f"{type(policy).__name__} cannot be quantized; give a checkpoint of ours."
        )
    with torch.no_grad():
        return (2 * normalizer.scale).abs().cpu().numpy()
