"""The action experts of pi0 and pi0.5 as openpi's PyTorch port and LeRobot store them.

The names are those of lerobot 0.6.1, policies/pi0/modeling_pi0.py and policies/pi05/.
"""

from collections.abc import Mapping

from torch import Tensor

from policies.checkpoints.translation import (
    Table,
    cut,
    flip,
    keep,
    lift,
    pair_layers,
    pair_linear,
    pair_norm,
    translate,
)

_EXPERT = "paligemma_with_expert.gemma_expert"


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
    table: Table = {
        **_pair_decoder(layers, {"weight": lift}),
        **pair_linear("action_time_mlp_in", "denoiser.time_in"),
        **pair_linear("action_time_mlp_out", "denoiser.time_out"),
        "state_proj.weight": ("denoiser.state.weight", cut(state_dim)),
        "state_proj.bias": ("denoiser.state.bias", keep),
    }
    return _translate(weights, table)


def translate_adaptive_expert(weights: Mapping[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """Weights of pi0.5's expert for an `ExpertHead` (time="norm", state="none").

    Raises:
        CheckpointError: unless the checkpoint holds just such an expert.
    """
    table: Table = {
        **_pair_decoder(layers, {"dense.weight": keep, "dense.bias": keep}),
        **pair_linear("time_mlp_in", "denoiser.time_in"),
        **pair_linear("time_mlp_out", "denoiser.time_out"),
    }
    return _translate(weights, table)


def _pair_decoder(layers: int, norms: Mapping) -> Table:
    return {
        **pair_layers(f"{_EXPERT}.model.layers", "denoiser.layers", layers, norms),
        **pair_norm(f"{_EXPERT}.model.norm", "denoiser.norm", norms),
        **pair_linear("action_in_proj", "denoiser.enter"),
        **pair_linear("action_out_proj", "denoiser.leave", flip),
    }


def _translate(weights: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    return translate(
        weights,
        table,
        owned=(_EXPERT, "action_", "state_proj", "time_mlp"),
        idle=(f"{_EXPERT}.lm_head.weight",),
    )
