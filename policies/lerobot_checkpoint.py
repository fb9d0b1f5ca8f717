"""Reading a LeRobot checkpoint folder, and refusing what LeRobot lets pass.

LeRobot's normaliser leaves a feature alone when its statistics are missing, and divides
by 1e-8 when they do not vary; here both stop the load. Weights must fit exactly, and the
processors may only name LeRobot's own steps, because a class name in a JSON file would
otherwise choose what Python imports.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from draccus.utils import DraccusException
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import NormalizerProcessorStep, UnnormalizerProcessorStep
from lerobot.processor.pipeline import PolicyProcessorPipeline, ProcessorMigrationError
from safetensors import SafetensorError

from vla.errors import CheckpointError, ConfigError, StatisticsError

PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
FILES = ("config.json", "model.safetensors", *PROCESSORS)
NEEDED = {
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}
# These three read their observations from internal queues only.
QUEUED = ("tdmpc", "vqbet", "multi_task_dit")


@dataclass(frozen=True, kw_only=True, slots=True)
class LerobotCheckpoint:
    """A policy and its two processors, as LeRobot builds them."""

    policy: PreTrainedPolicy
    preprocess: PolicyProcessorPipeline
    postprocess: PolicyProcessorPipeline


def read_settings(path: str, device: str) -> PreTrainedConfig:
    """Read the policy's config.json, set for the torch device `device`.

    Raises:
        CheckpointError: when a file of the folder is missing, config.json is garbled, or
            the policy's type cannot be used here.
        ConfigError: when the device does not exist.
    """
    _require_folder(path)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {device!r}: torch finds no CUDA device; take 'cpu'.")
    with _explain(path):
        settings = PreTrainedConfig.from_pretrained(path)
    if settings.use_peft:
        raise CheckpointError(
            f"{path!r} is a PEFT adapter; merge it into its base policy and save that."
        )
    if settings.type in QUEUED:
        raise CheckpointError(
            f"{path!r}: a {settings.type!r} policy plans from its internal queues only, so it "
            "cannot be called as a pure function."
        )
    if not settings.input_features or not settings.output_features:
        raise CheckpointError(f"{path!r}: config.json names no input or no output features.")
    settings.device = device
    if hasattr(settings, "pretrained_backbone_weights"):
        settings.pretrained_backbone_weights = None  # the checkpoint holds them; no download
    return settings


def load_checkpoint(path: str, settings: PreTrainedConfig) -> LerobotCheckpoint:
    """Load weights and processors of the folder `path`, whose `settings` were read.

    Raises:
        CheckpointError: when a file is garbled or foreign.
        StatisticsError: when a normalised feature has no usable statistics.
    """
    with _explain(path):
        before, after = (json.loads((Path(path) / name).read_text()) for name in PROCESSORS)
        _require_own_steps([*before["steps"], *after["steps"]], path)
    moves = any(step.get("registry_name") == "device_processor" for step in before["steps"])
    device = {"device_processor": {"device": settings.device}} if moves else {}
    with _explain(path):
        preprocess, postprocess = make_pre_post_processors(
            settings, pretrained_path=path, preprocessor_overrides=device
        )
    _check_statistics(settings, settings.input_features, preprocess.steps, PROCESSORS[0])
    _check_statistics(settings, settings.output_features, postprocess.steps, PROCESSORS[1])
    with _explain(path), contextlib.redirect_stdout(io.StringIO()):  # it prints
        kind = get_policy_class(settings.type)
        policy = kind.from_pretrained(path, config=settings, strict=True)
    return LerobotCheckpoint(
        policy=policy.to(settings.device).eval(), preprocess=preprocess, postprocess=postprocess
    )


def _require_folder(path: str) -> None:
    missing = [name for name in FILES if not (Path(path) / name).is_file()]
    if not path or missing:
        raise CheckpointError(
            f"{path!r} is no LeRobot policy folder: {', '.join(missing)} missing. Give the "
            "`pretrained_model` folder that `lerobot-train` writes (from the hub: "
            "`hf download NAME`); folders older than LeRobot 0.4 need "
            "`python -m lerobot.processor.migrate_policy_normalization` first."
        )


@contextlib.contextmanager
def _explain(path: str) -> Iterator[None]:
    """Turn what LeRobot raises on a bad folder into a CheckpointError."""
    try:
        yield
    except (
        *(OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError),
        *(SystemExit, DraccusException, SafetensorError, ProcessorMigrationError),
    ) as error:
        reason = str(error).strip() or repr(error)
        raise CheckpointError(
            f"LeRobot cannot load {path!r}: {reason} Check that the files are complete and "
            f"written by LeRobot 0.6 (here: {version('lerobot')})."
        ) from error


def _require_own_steps(steps: list[dict[str, Any]], path: str) -> None:
    for step in steps:
        source = step.get("class")
        if "registry_name" not in step and not str(source).startswith("lerobot."):
            raise CheckpointError(
                f"{path!r}: a processor asks to import {source!r}. Only LeRobot's own steps are "
                "loaded, since a checkpoint must not choose what code runs."
            )


def _check_statistics(
    settings: PreTrainedConfig, features: dict[str, PolicyFeature], steps: Sequence[Any], file: str
) -> None:
    """Stop unless each normalised feature has statistics that `_check_feature` accepts."""
    normalizers = [
        step
        for step in steps
        if isinstance(step, NormalizerProcessorStep | UnnormalizerProcessorStep)
    ]
    for key, feature in features.items():
        step = next((step for step in normalizers if key in step.features), None)
        modes = settings.normalization_mapping if step is None else step.norm_map
        mode = modes.get(feature.type, NormalizationMode.IDENTITY)
        if mode is NormalizationMode.IDENTITY or (step is not None and _skips(step, key, feature)):
            continue
        where = f"feature {key!r} ({mode.value}) in {file}"
        if step is None:
            raise StatisticsError(f"No normaliser handles {where}; save the policy again.")
        _check_feature(where, feature, step.state_dict(), key, mode)


def _skips(step: Any, key: str, feature: PolicyFeature) -> bool:
    chosen = step.normalize_observation_keys
    return chosen is not None and feature.type is not FeatureType.ACTION and key not in chosen


def _check_feature(
    where: str,
    feature: PolicyFeature,
    state: dict[str, torch.Tensor],
    key: str,
    mode: NormalizationMode,
) -> None:
    """Raise StatisticsError unless the two statistics exist, fit, are finite and vary."""
    first, second = NEEDED[mode]
    missing = [name for name in (first, second) if f"{key}.{name}" not in state]
    if missing:
        raise StatisticsError(
            f"Statistics {missing} are missing for {where}; LeRobot would pass its raw values. "
            "Save the processors again with the dataset's statistics "
            "(make_pre_post_processors(config, dataset_stats=...))."
        )
    low, high = (state[f"{key}.{name}"].flatten() for name in (first, second))
    for name, values in ((first, low), (second, high)):
        if len(values) not in (1, feature.shape[0]):
            raise StatisticsError(
                f"{name} has {len(values)} values for {where} of shape {tuple(feature.shape)}."
            )
        if not values.isfinite().all():
            raise StatisticsError(f"{name} is not finite for {where}.")
    spread = high if mode is NormalizationMode.MEAN_STD else high - low
    flat = (spread <= 0).nonzero().flatten().tolist()
    if flat:
        what = "std is 0" if mode is NormalizationMode.MEAN_STD else f"{first} equals {second}"
        raise StatisticsError(
            f"{what} at axes {flat} of {where}: the data never vary there, and any other value "
            "would be scaled by 1e8. Leave the axes out, or give them a spread and retrain."
        )
