"""A checkpoint without the state of a training run: a policy that came from elsewhere."""

from pathlib import Path

from torch import Tensor

from vla.files import complete_folder, digest_file, write_json
from vla.training.checkpoint import FORMAT, CheckpointMeta
from vla.training.weights import save_tensors


def write_release(folder: Path, meta: CheckpointMeta, weights: dict[str, Tensor]) -> None:
    """Write `folder`, which `open_checkpoint` opens; completely or not at all.

    Args:
        folder: replaced when it exists.
        meta: as of a training run.
        weights: by the policy's names.
    """
    with complete_folder(folder) as draft:
        save_tensors(draft / "weights.safetensors", weights)
        (draft / "config.yaml").write_text(meta.config_yaml)
        digest = digest_file(draft / "weights.safetensors")
        ours = {"format": FORMAT, "step": 0, "score": None, "weights_sha256": digest}
        write_json(draft / "contract.json", {**meta.contract, **ours})
