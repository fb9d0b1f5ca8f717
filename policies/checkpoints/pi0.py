"""pi0 and pi0.5 as openpi's PyTorch port and LeRobot store them.

The names are those of lerobot 0.6.1, policies/pi0/modeling_pi0.py and policies/pi05/.
"""

from collections.abc import Mapping

from torch import Tensor

from policies.checkpoints.translation import (
    PADDED,
    Table,
    cut,
    flip,
    keep,
    lift,
    measure_expert,
    pair_layers,
    pair_linear,
    pair_norm,
    rename,
    translate,
)

EXPERT = "paligemma_with_expert.gemma_expert"
MODEL = "paligemma_with_expert.paligemma."
PARTS = {
    f"{MODEL}model.vision_tower.": "backbone.tower.vision.",
    f"{MODEL}model.multi_modal_projector.": "backbone.tower.projector.",
    f"{MODEL}model.language_model.": "backbone.decoder.",
}
_OWNED = (EXPERT, "action_", "state_proj", "time_mlp")
_TIED = (f"{MODEL}lm_head.weight", f"{MODEL}model.language_model.embed_tokens.weight")


def translate_expert(
    weights: Mapping[str, Tensor], *, layers: int, state_dim: int
) -> dict[str, Tensor]:
    """Weights of pi0's expert for an `ExpertHead` (time="mlp", state="token").

    Args:
        weights: of the whole checkpoint.
        layers: of the expert.
        state_dim: entries of our state; the checkpoint's 32 were padded with zeros.

    Raises:
        CheckpointError: unless the checkpoint holds just such an expert.
    """
    return _translate(weights, list_expert(layers=layers, state_dim=state_dim))


def list_expert(*, layers: int, state_dim: int, padded: int = PADDED) -> Table:
    """What becomes of each tensor of pi0's expert."""
    return {
        **_pair_decoder(layers, {"weight": lift}),
        **pair_linear("action_time_mlp_in", "denoiser.time_in"),
        **pair_linear("action_time_mlp_out", "denoiser.time_out"),
        "state_proj.weight": ("denoiser.state.weight", cut(state_dim, padded=padded)),
        "state_proj.bias": ("denoiser.state.bias", keep),
    }


def translate_adaptive_expert(weights: Mapping[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """Weights of pi0.5's expert for an `ExpertHead` (time="norm", state="none").

    Raises:
        CheckpointError: unless the checkpoint holds just such an expert.
    """
    return _translate(weights, list_adaptive_expert(layers=layers))


def list_adaptive_expert(*, layers: int) -> Table:
    """What becomes of each tensor of pi0.5's expert."""
    return {
        **_pair_decoder(layers, {"dense.weight": keep, "dense.bias": keep}),
        **pair_linear("time_mlp_in", "denoiser.time_in"),
        **pair_linear("time_mlp_out", "denoiser.time_out"),
    }


def translate_language(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PaliGemma's part for a `PaligemmaConfig` backbone.

    No action goes through its output layer. It is the embedding under a second name; a file
    may hold one of the two names or both, and where both (they drift apart when only one is
    trained), LeRobot takes the embedding.

    Raises:
        CheckpointError: for unknown names.
    """
    known = {name.removeprefix("model."): weight for name, weight in weights.items()}
    head, embedding = (known.pop(name, None) for name in _TIED)
    ours = rename(known, PARTS, spared=_OWNED)
    one = embedding if embedding is not None else head
    if one is not None:
        ours["backbone.decoder.embed_tokens.weight"] = one
    return ours


def is_adaptive(weights: Mapping[str, Tensor]) -> bool:
    """Whether it is pi0.5, whose time goes into the norms."""
    return any(name.removeprefix("model.") == "time_mlp_in.weight" for name in weights)


def measure(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Width, layers, MLP and lanes of the expert, as an `ExpertConfig` names them.

    Raises:
        CheckpointError: without an expert.
    """
    return measure_expert(weights, f"{EXPERT}.model.layers")


def _pair_decoder(layers: int, norms: Mapping) -> Table:
    return {
        **pair_layers(f"{EXPERT}.model.layers", "denoiser.layers", layers, norms),
        **pair_norm(f"{EXPERT}.model.norm", "denoiser.norm", norms),
        **pair_linear("action_in_proj", "denoiser.enter"),
        **pair_linear("action_out_proj", "denoiser.leave", flip),
    }


def _translate(weights: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    return translate(
        weights,
        table,
        owned=_OWNED,
        idle=(f"{EXPERT}.lm_head.weight",),
    )
