"""The file in which Prismatic and CogACT keep a model: one dictionary of parts, saved by torch.

`checkpoints/NAME.pt` holds {"model": {part: state dict}}. The parts of the vision-language model
become OpenVLA's names here (`policies.backbones.openvla` goes on from there); CogACT's action
model is read by `policies.checkpoints.cogact`. Facts: TRI-ML/prismatic-vlms, models/load.py;
openvla/openvla, vla-scripts/extern/convert_openvla_weights_to_hf.py; microsoft/CogACT, vla/.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from policies.torch_zip import read_torch_zip
from vla.errors import CheckpointError

PARTS = {  # a beginning there: OpenVLA's
    "model.vision_backbone.dino_featurizer.": "vision_backbone.featurizer.",
    "model.vision_backbone.siglip_featurizer.": "vision_backbone.fused_featurizer.",
    "model.llm_backbone.llm.": "language_model.",
    "model.projector.projector.0.": "projector.fc1.",
    "model.projector.projector.2.": "projector.fc2.",
    "model.projector.projector.4.": "projector.fc3.",
}
ELSEWHERE = ("model.action_model.", "model.ema_diffusion.", "optimizer.")
"""Read by others, or by nobody: an average of the weights, and what training went on from."""
HEAD_WIDTH = 128
"""Of Llama 2 7B's attention; its tensors do not tell."""


def find_file(folder: Path) -> Path | None:
    """The file in `folder`; None when it is of another layout.

    Raises:
        CheckpointError: when there are several.
    """
    found = sorted(folder.glob("checkpoints/*.pt"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} has several checkpoints: {', '.join(path.name for path in found)}. Keep the "
            "one that is meant."
        )
    return found[0] if found else None


def read_file(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings of the language model, as of transformers' Llama, and OpenVLA's weights.

    Raises:
        CheckpointError: when the file cannot be read or holds unknown parts.
    """
    path = find_file(folder)
    assert path is not None
    weights, foreign = {}, []
    for name, weight in read_torch_zip(path).items():
        for theirs, ours in PARTS.items():
            if name.startswith(theirs):
                weights[ours + name.removeprefix(theirs)] = weight
                break
        else:
            if not name.startswith(ELSEWHERE):
                foreign.append(name)
    if foreign:
        raise CheckpointError(
            f"{path} brings {len(foreign)} unknown tensors, e.g. {sorted(foreign)[:5]}; nothing "
            "was loaded. Only DINOv2 with SigLIP, an MLP of three layers and Llama 2 are read."
        )
    return _measure(path, weights), weights


def _measure(path: Path, weights: dict[str, Tensor]) -> dict[str, Any]:
    layers = "language_model.model.layers."
    try:
        vocabulary, width = weights["language_model.model.embed_tokens.weight"].shape
        mlp = weights[f"{layers}0.mlp.gate_proj.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} has no Llama ({error}); fetch it again.") from error
    numbers = {name.split(".")[3] for name in weights if name.startswith(layers)}
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": len(numbers),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "rms_norm_eps": 1e-5,  # Llama 2's; OpenVLA's config.json leaves it to transformers: 1e-6
        "pad_token_id": None,
    }
