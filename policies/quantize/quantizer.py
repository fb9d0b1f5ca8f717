"""From a float policy to one in few bits, and back from a description of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from policies.quantize.calibration import Inputs, calibrate
from policies.quantize.config import RecipeConfig
from policies.quantize.gptq import encode_gptq
from policies.quantize.linears import Int4WeightLinear, QuantizedLinear, make_linear
from vla.errors import CheckpointError, ConfigError
from vla.types import Observation

_VISION = ("eyes", "tower", "vision", "vision_tower", "vision_model", "visual")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    """What became of one layer.

    Attributes:
        name: its path in the policy.
        kind: how it is stored.
        group: of 4-bit weights, else 0.
        error: |quantized - float| / |float| of its output on calibration inputs (Frobenius);
            None for a layer that calibration did not reach.
        smooth: strength of the scale migration, 0 for none.
    """

    name: str
    kind: str
    group: int
    error: float | None
    smooth: float


def quantize(
    policy: nn.Module, recipe: RecipeConfig, observations: Sequence[Observation]
) -> list[LayerReport]:
    """Replace the layers that `recipe` chooses, in place.

    Args:
        policy: with `act`, in float.
        recipe: what to replace, and by what.
        observations: to calibrate on; without any, scales come from the weights alone and
            no layer's error is known.

    Raises:
        ConfigError: when the recipe chooses no layer.
    """
    layers = choose_layers(policy, recipe)
    if recipe.kind == "none":
        return []
    if not layers:
        raise ConfigError(
            f"recipe={recipe.kind} finds no layer to quantize: none of the parts {recipe.parts} "
            f"has a linear layer of {recipe.least} weights that recipe.skip lets through."
        )
    inputs = calibrate(policy, layers, observations)  # type: ignore[arg-type]
    reports = []
    for name, layer in layers.items():
        quantized, report = _convert(name, layer, recipe, inputs.pop(name, None))
        _put(policy, name, quantized)
        reports.append(report)
    return reports


def choose_layers(policy: nn.Module, recipe: RecipeConfig) -> dict[str, nn.Linear]:
    """The layers that a recipe is for, by name, each once."""
    chosen = {}
    owned_by_torch = {
        f"{name}.{inner}"
        for name, module in policy.named_modules()
        if isinstance(module, nn.MultiheadAttention)  # reads its layers' weights itself
        for inner, _ in module.named_modules()
    }
    step = {"int4_weights": getattr(recipe, "group", 32), "float8": 16}.get(recipe.kind, 1)
    for name, module in policy.named_modules():
        fits = type(module) is nn.Linear and module.weight.numel() >= recipe.least
        if not fits or name in owned_by_torch or find_part(name) not in recipe.parts:
            continue
        skipped = any(fnmatch(name, pattern) for pattern in recipe.skip)
        if not skipped and module.in_features % step == 0 and module.out_features % 8 == 0:
            chosen[name] = module
    return chosen


def find_part(name: str) -> str:
    """Say by its path whether a layer is of "vision", "language" or "head"."""
    path = name.split(".")
    if "head" in path[:2]:  # a family's policy keeps its own one level down
        return "head"
    return "vision" if not set(path).isdisjoint(_VISION) else "language"


def adopt(policy: nn.Module, layers: Sequence[dict[str, Any]]) -> None:
    """Put empty quantized layers where reports (as JSON) say; their weights are loaded next.

    Raises:
        CheckpointError: when the description does not fit the policy.
    """
    for entry in layers:
        try:
            old = policy.get_submodule(entry["name"])
            inputs, outputs = old.in_features, old.out_features
            empty = make_linear(
                entry["kind"], inputs, outputs, bias=old.bias is not None, group=entry["group"]
            )
        except (AttributeError, KeyError, ConfigError) as error:
            raise CheckpointError(
                f"The checkpoint's list of quantized layers does not fit its policy: {error}."
            ) from error
        _put(policy, entry["name"], empty)


def count_bytes(policy: nn.Module) -> int:
    """Bytes of parameters and buffers, each once."""
    tensors = {id(t): t for t in (*policy.parameters(), *policy.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


@torch.no_grad()
def _convert(
    name: str, layer: nn.Linear, recipe: RecipeConfig, inputs: Inputs | None
) -> tuple[QuantizedLinear, LayerReport]:
    """The layer of least error among the strengths of smoothing that the recipe offers."""
    group = getattr(recipe, "group", 0)
    best: QuantizedLinear | None = None
    least, chosen = float("inf"), 0.0
    for strength in [0.0, *(recipe.smooth if inputs else [])]:
        made = make_linear(
            recipe.kind, layer.in_features, layer.out_features,
            bias=layer.bias is not None, group=group,
        ).to(layer.weight.device)  # fmt: skip
        made.fill(layer, _migrate(layer.weight, inputs, strength) if strength and inputs else None)
        if isinstance(made, Int4WeightLinear) and getattr(recipe, "gptq", False) and inputs:
            encode_gptq(made, layer.weight.detach().float(), inputs.rows)
        error = _measure(layer, made, inputs.rows) if inputs else 0.0
        if error < least:
            best, least, chosen = made, error, strength
    assert best is not None
    return best, LayerReport(
        name=name, kind=recipe.kind, group=group, error=least if inputs else None, smooth=chosen
    )


def _migrate(weight: Tensor, inputs: Inputs, strength: float) -> Tensor:
    """Divisors (K,) that move outliers from inputs into weights (SmoothQuant, eq. 4)."""
    fed = inputs.largest.clamp(min=1e-5).pow(strength)
    held = weight.float().abs().amax(0).clamp(min=1e-5).pow(1 - strength)
    divisor = fed / held
    return (divisor / divisor.log().mean().exp()).clamp(1e-4, 1e4)


def _measure(layer: nn.Linear, quantized: QuantizedLinear, rows: Tensor) -> float:
    """Relative error of the output without bias, which would hide it."""
    bias = 0.0 if layer.bias is None else layer.bias.float()
    truth = layer(rows.to(layer.weight.dtype)).float() - bias
    guess = quantized(rows).float() - bias
    return float((guess - truth).norm() / truth.norm().clamp(min=1e-12))


def _put(policy: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(policy.get_submodule(parent), own, layer)  # nn.Sequential takes numbers as names
