"""SmolVLA as LeRobot stores it (0.6.1, policies/smolvla/)."""

from collections.abc import Mapping
from math import sqrt

from torch import Tensor

from policies.checkpoints.translation import (
    PADDED,
    Table,
    cut,
    flip,
    keep,
    measure_expert,
    pair_layers,
    pair_linear,
    pair_norm,
    rename,
    stretch,
    translate,
)
from vla.errors import CheckpointError

EXPERT = "vlm_with_expert.lm_expert"
MODEL = "vlm_with_expert.vlm."
PARTS = {
    f"{MODEL}model.vision_model.": "backbone.tower.vision.",
    f"{MODEL}model.connector.": "backbone.tower.projector.",
    f"{MODEL}model.text_model.": "backbone.decoder.",
    f"{MODEL}lm_head.": "backbone.output.",
}
SCALED = (
    "backbone.tower.projector.modality_projection.proj.weight",
    "backbone.decoder.embed_tokens.weight",
)


def translate_expert(weights: Mapping[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """Weights for an `ExpertHead` (family="llama", joint_every=2, causal, state="none").

    The checkpoint's `state_proj` makes the prefix's state token: it is the backbone's.

    Raises:
        CheckpointError: unless the checkpoint holds just such an expert.
    """
    return translate(weights, list_expert(layers=layers), owned=(EXPERT, "action_"), idle=())


def list_expert(*, layers: int) -> Table:
    """What becomes of each tensor of the expert."""
    plain = {"weight": keep}
    return {
        **pair_layers(f"{EXPERT}.layers", "denoiser.layers", layers, plain),
        **pair_norm(f"{EXPERT}.norm", "denoiser.norm", plain),
        **pair_linear("action_in_proj", "denoiser.enter"),
        **pair_linear("action_out_proj", "denoiser.leave", flip),
        **pair_linear("action_time_mlp_in", "denoiser.time_in"),
        **pair_linear("action_time_mlp_out", "denoiser.time_out"),
    }


def translate_language(weights: Mapping[str, Tensor], *, state_dim: int) -> dict[str, Tensor]:
    """SmolVLM's part, and the state's token, for a `SmolvlmConfig` backbone of size "smolvla".

    SmolVLA multiplies words and pictures by sqrt(D) on their way into the decoder. Both come
    out of linear layers without a bias, so here the factor is in these layers' weights.

    Raises:
        CheckpointError: for unknown or missing names.
    """
    ours = rename(weights, PARTS, spared=(EXPERT, "action_", "state_proj."))
    for name in SCALED:
        if name not in ours:
            raise CheckpointError(f"The checkpoint lacks {name} (its name here); fetch it again.")
        ours[name] = stretch(sqrt(ours[SCALED[1]].shape[1]))(ours[name])
    state = list_state(state_dim=state_dim)
    return ours | translate(weights, state, owned=("state_proj",), idle=())


def list_state(*, state_dim: int, padded: int = PADDED) -> Table:
    """What becomes of the state's projection."""
    return {
        "state_proj.weight": ("backbone._state_token.weight", cut(state_dim, padded=padded)),
        "state_proj.bias": ("backbone._state_token.bias", keep),
    }


def measure(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Width, layers, MLP and lanes of the expert, as an `ExpertConfig` names them.

    Raises:
        CheckpointError: without an expert.
    """
    return measure_expert(weights, f"{EXPERT}.layers")
