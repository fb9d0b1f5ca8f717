"""CogACT folders: one torch file with the vision-language model and the diffusion transformer.

Sampling is that of its evaluations: DDIM with 10 leading steps, guidance 1.5, the chunk kept to
[-1, 1]. Not as there: the gripper stays a number between 0 and 1, which its code rounds; plans are
joined by the controller (`control/execution=adaptive`), not here. The slow average of the weights
("ema_diffusion") is left aside, as its code does by default.
Facts: microsoft/CogACT, vla/cogactvla.py, action_model/{models,action_model}.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from policies.backbones.language_config import PrismaticConfig
from policies.backbones.prismatic_file import find_file
from policies.checkpoints.bodies import find_body, require_kin
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.folder import PublicFolder
from policies.checkpoints.imported import Imported, make_buffers
from policies.checkpoints.openvla import choose_statistics, make_action_buffers, require_camera
from policies.checkpoints.translation import Change, Table, keep, pair_linear, translate
from policies.config import VlaPolicyConfig
from policies.heads.config_denoisers import DitConfig
from policies.torch_zip import read_torch_zip
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, EmbodimentMismatch

NET = "model.action_model.net."
HEADS = {384: 4, 768: 12, 1024: 16}
"""Attention heads by width: DiT-S, DiT-B and DiT-L."""
flat = Change(lambda weight: weight.flatten(), lambda weight: weight.unsqueeze(0))


def read_cogact(folder: PublicFolder, config: PublicConfig, body: Embodiment | None) -> Imported:
    """The policy in `folder`; it sees one camera and no state.

    Args:
        folder: in the layout of CogACT/CogACT-Base.
        config: `key` names the statistics; `tokenizer` Llama 2's, which the folder lacks.
        body: that it plans for; None takes the one known by the key.

    Raises:
        CheckpointError: when the folder is damaged or its file holds something else.
        ConfigError: when the key must be told.
        StatisticsError: when the statistics cannot be used.
        EmbodimentMismatch: for a body with other axes.
    """
    key, told = choose_statistics(folder, config.key)
    body = find_body(key) if body is None else body
    require_kin(body, key)
    require_camera(body, "CogACT")
    path = find_file(folder.path)
    assert path is not None
    stored = {n.removeprefix(NET): x for n, x in read_torch_zip(path).items() if n.startswith(NET)}
    sizes = measure(stored)
    weights = translate(stored, list_head(sizes["layers"]), owned=("",), idle=IDLE)
    lanes = stored["x_embedder.linear.weight"].shape[1]
    if lanes != len(body.action):
        raise EmbodimentMismatch(
            f"{folder.path} plans {lanes} axes; {body.name!r} has {len(body.action)}."
        )
    weights |= make_action_buffers(told, key, body, source=folder)
    size = len(body.state)  # never looked at
    weights |= make_buffers("state", torch.zeros(size), torch.ones(size))
    return Imported(
        source=str(folder.path),
        config=VlaPolicyConfig(
            horizon=len(stored["positional_embedding"]) - 1,
            normalization="quantile",
            backbone=PrismaticConfig(
                name=str(folder.path), tokenizer=config.tokenizer, dtype=config.dtype,
                state="none", readout="token",
            ),
            head=DitConfig(**sizes, readouts=1, spacing="leading", limit=1.0),
        ),
        embodiment=body,
        weights=weights,
        within=("backbone.",),
    )  # fmt: skip


def measure(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Width, layers and attention heads of the transformer, as a `DitConfig` names them.

    Raises:
        CheckpointError: without one.
    """
    missing = {"positional_embedding", "x_embedder.linear.weight"} - weights.keys()
    if missing:
        raise CheckpointError(
            f"The file has no action model (no {NET}{min(missing)}): a Prismatic model without "
            "actions, or an action model that is no transformer. Train on it with "
            "policy/backbone=prismatic."
        )
    width = weights["positional_embedding"].shape[1]
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    heads = HEADS.get(width, max(1, width // 64))
    return {"width": width, "layers": len(blocks), "attention_heads": heads}


IDLE = ("history_embedder.linear.weight", "history_embedder.linear.bias")
"""Stored, never used: "Action history is not used now"."""


def list_head(layers: int) -> Table:
    """What becomes of each tensor of the action model."""
    table: Table = {
        "positional_embedding": ("head.denoiser.position", keep),
        "z_embedder.uncondition": ("head.unconditional", flat),
        **pair_linear("x_embedder.linear", "head.denoiser.enter"),
        **pair_linear("t_embedder.mlp.0", "head.denoiser.clock.0"),
        **pair_linear("t_embedder.mlp.2", "head.denoiser.clock.2"),
        **pair_linear("z_embedder.linear", "head.denoiser.understand"),
        **pair_linear("final_layer.linear", "head.denoiser.leave"),
    }
    for index in range(layers):
        theirs, ours = f"blocks.{index}", f"head.denoiser.layers.{index}"
        table |= {
            **pair_linear(f"{theirs}.attn.qkv", f"{ours}.look"),
            **pair_linear(f"{theirs}.attn.proj", f"{ours}.out"),
            **pair_linear(f"{theirs}.mlp.fc1", f"{ours}.mlp.0"),
            **pair_linear(f"{theirs}.mlp.fc2", f"{ours}.mlp.2"),
        }
    return table
