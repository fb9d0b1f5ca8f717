"""Normalisation as LeRobot's processors keep it: a step in a JSON file, numbers beside it."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from policies.checkpoints.folder import read_json
from policies.checkpoints.imported import make_buffers
from vla.errors import CheckpointError, StatisticsError, choose

BEFORE, AFTER = "policy_preprocessor.json", "policy_postprocessor.json"
MODES = {"MEAN_STD": "mean_std", "MIN_MAX": "min_max", "QUANTILES": "quantile"}
_ENDS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99")}


def read_buffers(folder: Path, *, state: str) -> tuple[dict[str, Tensor], str]:
    """The normalisers' buffers, and the mode of the actions as a `VlaPolicyConfig` names it.

    Args:
        folder: of the policy.
        state: key of the state.

    Returns:
        No buffers when the folder has no processors or these no statistics: a base model.

    Raises:
        CheckpointError: for files or modes that cannot be read.
        StatisticsError: for statistics of one vector alone, or that cannot be divided by.
    """
    if not (folder / AFTER).is_file():
        return {}, "mean_std"
    parts, mode = {}, "mean_std"
    for what, key, kind, file, step in (
        ("state", state, "STATE", BEFORE, "normalizer_processor"),
        ("action", "action", "ACTION", AFTER, "unnormalizer_processor"),
    ):
        found = _find_step(folder / file, step)
        name = found["config"]["norm_map"].get(kind, "IDENTITY")
        known = _read_step(folder, found)
        affine = _affine(name, key, known)
        if affine is not None:
            parts[what] = make_buffers(what, *affine)
        mode = MODES.get(name, mode)
    if len(parts) == 1:
        raise StatisticsError(f"{folder} has statistics of the {next(iter(parts))} alone.")
    return {name: tensor for part in parts.values() for name, tensor in part.items()}, mode


def _find_step(path: Path, kind: str) -> dict[str, Any]:
    steps = [step for step in read_json(path)["steps"] if step.get("registry_name") == kind]
    if len(steps) != 1:
        raise CheckpointError(f"{path} has {len(steps)} steps {kind!r}; it must have one.")
    return steps[0]


def _read_step(folder: Path, step: dict[str, Any]) -> dict[str, Tensor]:
    file = step.get("state_file")
    if file is None:
        return {}
    path = folder / Path(file).name  # never outside of the folder
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Fetch it again.") from error


def _affine(mode: str, key: str, known: dict[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Centre and scale of a vector; None without statistics of it."""
    sizes = [known[name].shape for name in known if name.startswith(f"{key}.")]
    if not sizes:
        return None
    if mode == "IDENTITY":
        size = max(sizes, key=len)
        return torch.zeros(size), torch.ones(size)
    choose(f"LeRobot normalisation of {key}:", mode, MODES)
    names = _ENDS.get(mode, ("mean", "std"))
    lacking = [name for name in names if f"{key}.{name}" not in known]
    if lacking:
        raise StatisticsError(f"{mode} needs {lacking} of {key!r}, which the checkpoint lacks.")
    one, two = (known[f"{key}.{name}"].double() for name in names)
    return (one, two) if mode == "MEAN_STD" else ((one + two) / 2, (two - one) / 2)
