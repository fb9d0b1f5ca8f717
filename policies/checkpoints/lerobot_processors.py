"""LeRobot's two processor files, written without LeRobot: steps by name, statistics beside."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from policies.checkpoints.lerobot_folder import PALIGEMMA, STATE
from policies.vla_policy import VlaPolicy
from vla.files import write_json

_WORDS = {"pi0": 48, "pi05": 200, "smolvla": 48}


def write_processors(folder: Path, policy: VlaPolicy, settings: dict[str, Any]) -> None:
    """Write the preprocessor and the postprocessor of the type `settings["type"]`.

    Args:
        folder: where.
        policy: whose normalisers become their statistics.
        settings: LeRobot's config.json.
    """
    kind = settings["type"]
    told = _tell(policy)
    features = {**settings["input_features"], **settings["output_features"]}
    plain = {"eps": 1e-8, "norm_map": settings["normalization_mapping"]}
    normalize = _step("normalizer_processor", {**plain, "features": features})
    words = _step(
        "tokenizer_processor",
        {
            "max_length": _WORDS[kind],
            "task_key": "task",
            "padding_side": "right",
            "padding": "longest" if kind == "smolvla" else "max_length",
            "truncation": True,
            "tokenizer_name": policy.config.backbone.tokenizer or PALIGEMMA,
        },
    )
    device = _step("device_processor", {"device": "cpu", "float_dtype": None})
    middle = {
        "pi0": [_step("pi0_new_line_processor", {}), words, device, normalize],
        "pi05": [
            normalize,
            _step("pi05_prepare_state_tokenizer_processor_step", {}),
            words,
            device,
        ],
        "smolvla": [_step("smolvla_new_line_processor", {}), words, device, normalize],
    }[kind]
    first = [
        _step("rename_observations_processor", {"rename_map": {}}),
        _step("to_batch_processor", {}),
    ]
    undo = _step("unnormalizer_processor", {**plain, "features": dict(settings["output_features"])})
    _write(folder, "policy_preprocessor", [*first, *middle], told)
    _write(folder, "policy_postprocessor", [undo, device], told)


def _write(folder: Path, name: str, steps: list[dict[str, Any]], told: dict[str, Tensor]) -> None:
    for index, step in enumerate(steps):
        kind = step["registry_name"]
        if kind in ("normalizer_processor", "unnormalizer_processor"):
            file = f"{name}_step_{index}_{kind}.safetensors"
            steps[index] = {**step, "state_file": file}
            save_file(told, folder / file)
    write_json(folder / f"{name}.json", {"name": name, "steps": steps})


def _step(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"registry_name": name, "config": config}


def _tell(policy: VlaPolicy) -> dict[str, Tensor]:
    """Statistics by LeRobot's names that normalise as the policy's own buffers do."""
    told = {}
    for key, part in ((STATE, policy.state_normalizer), ("action", policy.action_normalizer)):
        center, scale = part.center.detach().cpu().clone(), part.scale.detach().cpu().clone()
        if policy.config.normalization == "mean_std":
            told |= {f"{key}.mean": center, f"{key}.std": scale}
            continue
        low, high = ("q01", "q99") if policy.config.normalization == "quantile" else ("min", "max")
        told |= {f"{key}.{low}": center - scale, f"{key}.{high}": center + scale}
    return told
