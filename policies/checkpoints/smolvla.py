"""SmolVLA's action expert as LeRobot stores it (0.6.1, policies/smolvla/)."""

from collections.abc import Mapping

from torch import Tensor

from policies.checkpoints.translation import (
    Table,
    flip,
    keep,
    pair_layers,
    pair_linear,
    pair_norm,
    translate,
)

_EXPERT = "vlm_with_expert.lm_expert"


def translate_expert(weights: Mapping[str, Tensor], *, layers: int) -> dict[str, Tensor]:
    """Weights for an `ExpertHead` (family="llama", joint_every=2, causal, state="none").

    The checkpoint's `state_proj` makes the prefix's state token: it is the backbone's.

    Raises:
        CheckpointError: unless the checkpoint holds just such an expert.
    """
    plain = {"weight": keep}
    table: Table = {
        **pair_layers(f"{_EXPERT}.layers", "denoiser.layers", layers, plain),
        **pair_norm(f"{_EXPERT}.norm", "denoiser.norm", plain),
        **pair_linear("action_in_proj", "denoiser.enter"),
        **pair_linear("action_out_proj", "denoiser.leave", flip),
        **pair_linear("action_time_mlp_in", "denoiser.time_in"),
        **pair_linear("action_time_mlp_out", "denoiser.time_out"),
    }
    return translate(weights, table, owned=(_EXPERT, "action_"), idle=())
