"""Quantized policies on disk: a checkpoint like any other, with one more key in its contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from vla.errors import CheckpointError
from vla.files import complete_folder, digest_file, write_json
from vla.training.checkpoint import Checkpoint
from vla.training.weights import module_tensors, save_tensors

KEY = "quantization"


def write_quantized(
    folder: Path | str, policy: nn.Module, source: Checkpoint, quantization: dict[str, Any]
) -> str:
    """Write a checkpoint folder, visible only once it is complete.

    Args:
        folder: made, or replaced.
        policy: quantized.
        source: the float checkpoint; its configuration and contract are kept.
        quantization: JSON values: recipe, layers, report, gate; see `vla quantize`.

    Returns:
        SHA-256 of the weights.

    Raises:
        CheckpointError: when it cannot be written.
    """
    try:
        with complete_folder(Path(folder)) as draft:
            weights = draft / "weights.safetensors"
            save_tensors(weights, module_tensors(policy))
            digest = digest_file(weights)
            (draft / "config.yaml").write_text(source.config_yaml)
            told = {**quantization, "source_sha256": source.contract["weights_sha256"]}
            contract = {**source.contract, "weights_sha256": digest, KEY: told}
            write_json(draft / "contract.json", contract)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Cannot write {folder}: {error}. Free space, then repeat."
        ) from error
    return digest


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules built within have parameters without memory; `map_module` puts some there.

    What is quantized is thus never held in float: a model of which 4 bits per weight fit can
    be loaded. Buffers are real, for not all of them are in a checkpoint.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield
