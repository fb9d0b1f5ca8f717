"""The part of a checkpoint that is deployed: weights, configuration, contract."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from vla.errors import CheckpointError
from vla.files import complete_folder, digest_file, write_json
from vla.training.weights import save_tensors

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointMeta:
    """What the caller wants in every checkpoint.

    Attributes:
        config_yaml: text of the run's configuration.
        contract: JSON values that a user of the weights must honour (embodiment, ...).

    Raises:
        CheckpointError: when `contract` is not JSON; said before the run, not at the first save.
    """

    config_yaml: str
    contract: dict[str, Any]

    def __post_init__(self) -> None:
        try:
            json.dumps(self.contract, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"The contract cannot be saved as JSON: {error}.") from error


def write_weights(
    path: Path,
    *,
    step: int,
    meta: CheckpointMeta,
    weights: dict[str, Tensor],
    score: float | None = None,
) -> None:
    """Save a checkpoint that can be deployed but not resumed, in a new folder.

    Raises:
        CheckpointError: when it cannot be written.
    """
    try:
        with complete_folder(path) as draft:
            fill_weights(draft, step, meta=meta, weights=weights, score=score)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"Cannot write {path}: {error}. Free space, then repeat.") from error


def fill_weights(
    folder: Path,
    step: int,
    *,
    meta: CheckpointMeta,
    weights: dict[str, Tensor],
    score: float | None,
) -> None:
    """Put weights, configuration and contract into the folder of a checkpoint."""
    save_tensors(folder / "weights.safetensors", weights)
    (folder / "config.yaml").write_text(meta.config_yaml)
    digest = digest_file(folder / "weights.safetensors")
    ours = {"format": FORMAT, "step": step, "score": score, "weights_sha256": digest}
    write_json(folder / "contract.json", {**meta.contract, **ours})
