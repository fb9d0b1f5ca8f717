"""OpenVLA-OFT folders: OpenVLA's merged weights, and two torch files beside them.

`action_head--STEP_checkpoint.pt` is the residual MLP of the L1 head; `proprio_projector--...` the
two layers that make a token of the state, where there is one. The folder says neither how many
rows it plans (OFT's code goes by the words on its command line) nor how many cameras it saw.
Facts: moojink/openvla-oft, prismatic/models/{action_heads,projectors}.py, vla/constants.py,
prismatic/extern/hf/modeling_prismatic.py (`_regression_or_discrete_prediction`).

Not as there: the state saturates 5 units from the middle, not 1; pictures are cropped and resized
at once, without a round trip through JPEG; the head computes in float32.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from policies.backbones.language_config import PrismaticConfig
from policies.checkpoints.bodies import find_body, require_kin
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.folder import PublicFolder
from policies.checkpoints.imported import Imported, make_buffers
from policies.checkpoints.openvla import choose_statistics, make_action_buffers, read_ends
from policies.checkpoints.translation import Table, keep, pair_linear, translate
from policies.config import VlaPolicyConfig
from policies.heads.config_language import ParallelConfig
from policies.torch_zip import read_torch_zip
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch

ROWS = {"libero": 8, "bridge": 5, "aloha": 25}
"""By the beginning of the data set's name, as in OFT's constants.py."""
_REFUSED = {
    "vision_backbone--*": "its eyes are modulated by the words (OFT+), from which embeddings that "
    "policy.backbone.film does not average",
    "noisy_action_projector--*": "it denoises with the language model (OFT's diffusion variant)",
}


def read_oft(folder: PublicFolder, config: PublicConfig, body: Embodiment | None) -> Imported:
    """The policy in `folder`.

    Args:
        folder: in the layout of moojink/openvla-7b-oft-finetuned-libero-spatial.
        config: `key` names the statistics, `cameras` the order of the cameras (else by name).
        body: that it plans for; None takes the one known by the key.

    Raises:
        CheckpointError: when the folder is damaged, or of a variant that is not read.
        ConfigError: when the key or the number of rows must be told.
        StatisticsError: when the statistics cannot be used.
        EmbodimentMismatch: for a body with other axes.
    """
    for pattern, reason in _REFUSED.items():
        if any(folder.path.glob(pattern)):
            raise CheckpointError(f"{folder.path} is not read: {reason}.")
    key, told = choose_statistics(folder, config.key)
    body = find_body(key) if body is None else body
    require_kin(body, key)
    head = read_component(folder, "action_head")
    table = list_head(head)
    weights = translate(head, table, owned=("",), idle=())
    weights |= make_action_buffers(told, key, body, source=folder)
    state = read_component(folder, "proprio_projector", needed=False)
    weights |= _read_state(state, told, key, body)
    width, lanes = head["fc1.weight"].shape[0], head["fc2.weight"].shape[0]
    if lanes != len(body.action):
        raise EmbodimentMismatch(
            f"{folder.path} plans {lanes} axes; {body.name!r} has {len(body.action)}."
        )
    backbone = PrismaticConfig(
        name=str(folder.path), dtype=config.dtype, state="mlp" if state else "none",
        attention="bidirectional", readout="ahead", fit="crop", cameras=list(config.cameras),
    )  # fmt: skip
    return Imported(
        source=str(folder.path),
        config=VlaPolicyConfig(
            horizon=config.rows or choose_rows(key),
            normalization="quantile",
            backbone=backbone,
            head=ParallelConfig(width=width, blocks=len(table) // 4 - 2),
        ),
        embodiment=body,
        weights=weights,
        within=("backbone.tower.", "backbone.decoder.", "backbone.output."),
    )


def choose_rows(key: str) -> int:
    """Rows of the family that the data set `key` belongs to.

    Raises:
        ConfigError: for a family that is not known.
    """
    for beginning, rows in ROWS.items():
        if key.startswith(beginning):
            return rows
    raise ConfigError(
        f"An OpenVLA-OFT folder does not say how many rows it plans, and {key!r} is not known; "
        "give policy.rows (NUM_ACTIONS_CHUNK of the code that trained it)."
    )


def read_component(folder: PublicFolder, part: str, *, needed: bool = True) -> dict[str, Tensor]:
    """The tensors of PART--STEP_checkpoint.pt; "module." and "model." before names do not count.

    Raises:
        CheckpointError: when there is not just one (with needed=False: at most one).
    """
    found = sorted(folder.path.glob(f"{part}--*.pt"))
    if len(found) > 1 or (needed and not found):
        raise CheckpointError(
            f"{folder.path} has {len(found)} files {part}--*.pt "
            f"({', '.join(path.name for path in found)}); it takes one, of the weights' own step."
        )
    if not found:
        return {}
    return {
        name.removeprefix("module.").removeprefix("model."): x
        for name, x in read_torch_zip(found[0]).items()
    }


def list_head(weights: Mapping[str, Tensor]) -> Table:
    """What becomes of each tensor of the action head."""
    blocks = {name.split(".")[1] for name in weights if name.startswith("mlp_resnet_blocks")}
    table = {
        **pair_linear("layer_norm1", "head.leave.enter.0"),
        **pair_linear("fc1", "head.leave.enter.1"),
        **pair_linear("layer_norm2", "head.leave.leave.0"),
        **pair_linear("fc2", "head.leave.leave.1"),
    }
    for index in range(len(blocks)):
        for part in (0, 1):
            theirs = f"mlp_resnet_blocks.{index}.ffn.{part}"
            table |= pair_linear(theirs, f"head.leave.blocks.{index}.{part}")
    return table


def _read_state(
    weights: dict[str, Tensor], told: Mapping[str, Mapping], key: str, body: Embodiment
) -> dict[str, Tensor]:
    """The state's token and normaliser; without a projector the state is never looked at."""
    size = len(body.state)
    if not weights:
        return make_buffers("state", torch.zeros(size), torch.ones(size))
    table: Table = {}
    for theirs, ours in (("fc1", 0), ("fc2", 2)):
        for part in ("weight", "bias"):
            table[f"{theirs}.{part}"] = (f"backbone._state_token.{ours}.{part}", keep)
    low, high, real = read_ends(told, key, part="proprio")
    have = weights["fc1.weight"].shape[1] if "fc1.weight" in weights else len(low)
    if not have == len(low) == size:
        raise EmbodimentMismatch(
            f"The state of {key!r} has {len(low)} axes and {have} weights; {body.name!r} has "
            f"{size}: {[axis.name for axis in body.state]}."
        )
    one = torch.ones(size, dtype=torch.float64)
    center = torch.where(real, (low + high) / 2, 0 * one)
    scale = torch.where(real, (high - low) / 2, one)
    return translate(weights, table, owned=("",), idle=()) | make_buffers("state", center, scale)
