"""OpenVLA folders: weights through `policies.backbones.openvla`, statistics by data set.

Facts: openvla/openvla, prismatic/extern/hf/modeling_prismatic.py (`predict_action`) and
vla-scripts/deploy.py (a fine-tuned folder's dataset_statistics.json replaces norm_stats).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from policies.backbones.checkpoint import load_tokenizer
from policies.backbones.language_config import PrismaticConfig
from policies.checkpoints.bodies import find_body, require_kin
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.folder import PublicFolder, read_json
from policies.checkpoints.imported import Imported, make_buffers
from policies.config import VlaPolicyConfig
from policies.heads.config_language import WordsConfig
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, StatisticsError, choose


def read_openvla(folder: PublicFolder, config: PublicConfig, body: Embodiment | None) -> Imported:
    """The policy in `folder`; it sees one camera and no state, and plans one row.

    Args:
        folder: in the layout of openvla/openvla-7b.
        config: `key` names the statistics.
        body: that it plans for; None takes the one known by the key.

    Raises:
        CheckpointError: when the folder is damaged.
        ConfigError: when the key is missing or unknown; the message lists those there are.
        StatisticsError: when the statistics cannot be used.
        EmbodimentMismatch: for a body of another size.
    """
    key, told = choose_statistics(folder, config.key)
    body = find_body(key) if body is None else body
    require_kin(body, key)
    buffers = make_action_buffers(told, key, body, source=folder)
    require_camera(body, "OpenVLA")
    backbone = PrismaticConfig(name=str(folder.path), dtype=config.dtype, state="none")
    _require_words(folder, backbone)
    size = len(body.state)  # never looked at
    return Imported(
        source=str(folder.path),
        config=VlaPolicyConfig(
            horizon=1, normalization="quantile", backbone=backbone, head=WordsConfig()
        ),
        embodiment=body,
        weights=buffers | make_buffers("state", torch.zeros(size), torch.ones(size)),
        within=("backbone.",),
    )


def choose_statistics(folder: PublicFolder, key: str) -> tuple[str, dict[str, Any]]:
    """One data set's statistics and their key.

    Raises:
        CheckpointError: when there are none at all.
        ConfigError: when `key` is "" and there are several, or there is no such key.
    """
    beside = folder.path / "dataset_statistics.json"
    known = read_json(beside) if beside.is_file() else folder.settings.get("norm_stats")
    if not isinstance(known, dict) or not known:
        raise CheckpointError(
            f"{folder.path} has no statistics: neither dataset_statistics.json nor norm_stats in "
            "config.json. Without them its actions cannot be told in any unit."
        )
    if not key and len(known) > 1:
        raise ConfigError(
            f"{folder.path} was trained on {len(known)} data sets; say whose actions it shall "
            f"plan with policy.key (or key= of `vla export`), one of: {', '.join(sorted(known))}."
        )
    key = key or next(iter(known))
    return key, choose(f"statistics of {folder.path}:", key, known)


def require_camera(body: Embodiment, what: str) -> None:
    """Raise EmbodimentMismatch unless the body has just one camera."""
    if len(body.cameras) != 1:
        raise EmbodimentMismatch(
            f"{what} sees one camera; {body.name!r} has {sorted(body.cameras)}. Give policy.body "
            "with the one it was trained on."
        )


def make_action_buffers(
    told: Mapping[str, Any], key: str, body: Embodiment, *, source: PublicFolder
) -> dict[str, torch.Tensor]:
    """The action normaliser of one data set's statistics; unmasked axes stay as they are.

    Raises:
        StatisticsError: when the statistics cannot be used.
        EmbodimentMismatch: for a body of another size.
    """
    low, high, real = read_ends(told, key, part="action")
    if len(body.action) != len(low):
        raise EmbodimentMismatch(
            f"{source.path}, key {key!r}: {len(low)} action axes; {body.name!r} has "
            f"{len(body.action)}: {[axis.name for axis in body.action]}."
        )
    one = torch.ones(len(low), dtype=torch.float64)
    return make_buffers(
        "action",
        torch.where(real, (low + high) / 2, 0 * one),
        torch.where(real, (high - low) / 2, one),
    )


def read_ends(told: Mapping[str, Any], key: str, *, part: str) -> tuple[torch.Tensor, ...]:
    """q01, q99 float64 (A,) of "action" or "proprio", and which axes they normalise, bool (A,).

    Raises:
        StatisticsError: when they are missing or of unlike lengths.
    """
    try:
        given = told[part]
        low, high = (torch.tensor(given[name], dtype=torch.float64) for name in ("q01", "q99"))
        real = torch.tensor(given.get("mask", [True] * len(low)), dtype=torch.bool)
    except (KeyError, TypeError, ValueError) as error:
        raise StatisticsError(
            f"The statistics {key!r} have no q01 and q99 of {part}: {error!r}."
        ) from error
    if not low.shape == high.shape == real.shape or low.ndim != 1:
        raise StatisticsError(f"The statistics {key!r} have q01, q99 and mask of unlike lengths.")
    return low, high, real


def _require_words(folder: PublicFolder, backbone: PrismaticConfig) -> None:
    """Actions are the last words of a vocabulary without its padding; the head counts so, too."""
    text = folder.settings.get("text_config", {})
    end = text.get("vocab_size", 32064) - folder.settings.get("pad_to_multiple_of", 64)
    bins = folder.settings.get("n_action_bins", 256)
    have = load_tokenizer(replace(backbone)).vocab_size
    if end != have or bins != 256:
        raise CheckpointError(
            f"{folder.path}: action words end at {end} (its tokenizer has {have} words) and are "
            f"{bins} bins; ours end with the tokenizer's and are 256. The folder was changed."
        )
