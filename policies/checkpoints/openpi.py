"""pi0 and pi0.5 as openpi's PyTorch port stores them: model.safetensors, config.json, assets.

Facts: openpi, examples/convert_jax_model_to_pytorch.py (layout) and transforms.py (`Normalize`:
z-scores for pi0, quantiles for pi0.5, both with 1e-6 added to what is divided by). Such a
folder does not say which transforms its robot had: the body's axes must say whether plans are
steps or targets.
"""

from typing import Any

import torch
from torch import Tensor

from policies.checkpoints import pi0
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.folder import PublicFolder, read_json
from policies.checkpoints.imported import Imported, make_buffers
from policies.checkpoints.lerobot_folder import read_pi
from policies.config import VlaPolicyConfig
from vla.embodiment import Embodiment
from vla.errors import ConfigError, EmbodimentMismatch, StatisticsError, choose

CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
_EPSILON = 1e-6


def read_openpi(folder: PublicFolder, config: PublicConfig, body: Embodiment) -> Imported:
    """The policy in `folder`.

    Raises:
        CheckpointError: for tensors that do not fit.
        EmbodimentMismatch: for a body whose cameras are not mapped, or of other sizes.
        ConfigError, StatisticsError: when the statistics are ambiguous or cannot be used.
    """
    named = {config.cameras.get(name, name): name for name in body.cameras}
    cameras = [named[key] for key in CAMERAS if key in named]
    if len(cameras) != len(body.cameras):
        raise EmbodimentMismatch(
            f"openpi's cameras are {', '.join(CAMERAS)}; map those of {body.name!r}, "
            f"{sorted(body.cameras)}, in policy.cameras, e.g. {{front: base_0_rgb}}."
        )
    weights = folder.read()
    adaptive = pi0.is_adaptive(weights)
    (backbone, head), ours = read_pi(weights, config, body, cameras=cameras, steps=10, fit="pad")
    told = _choose_statistics(folder, config.key)
    buffers: dict[str, Tensor] = {}
    if told is not None:
        for what, key, size in (
            ("state", "state", len(body.state)),
            ("action", "actions", len(body.action)),
        ):
            buffers |= make_buffers(what, *_affine(told, key, size, quantiles=adaptive))
    return Imported(
        source=str(folder.path),
        config=VlaPolicyConfig(
            horizon=folder.settings["action_horizon"],
            normalization="quantile" if adaptive else "mean_std",
            backbone=backbone,
            head=head,
        ),
        embodiment=body,
        weights=ours | buffers,
    )


def _choose_statistics(folder: PublicFolder, key: str) -> dict[str, Any] | None:
    root = folder.path / "assets"
    known = {
        path.parent.relative_to(root).as_posix(): path for path in root.glob("**/norm_stats.json")
    }
    if not known:
        return None
    if not key and len(known) > 1:
        raise ConfigError(
            f"{folder.path} has statistics of several data sets; choose one with policy.key: "
            f"{', '.join(sorted(known))}."
        )
    path = choose(f"statistics of {folder.path}:", key or next(iter(known)), known)
    return read_json(path)["norm_stats"]


def _affine(told: dict[str, Any], key: str, size: int, *, quantiles: bool) -> tuple[Tensor, Tensor]:
    """Centre and scale (size,); what lies behind must be padding."""
    names = ("q01", "q99") if quantiles else ("mean", "std")
    try:
        one, two = (torch.tensor(told[key][name], dtype=torch.float64) for name in names)
    except (KeyError, TypeError, ValueError) as error:
        raise StatisticsError(f"norm_stats.json lacks {names} of {key!r}: {error!r}.") from error
    rest = torch.cat([one[size:], two[size:]])
    if len(one) < size or rest.any():
        raise EmbodimentMismatch(
            f"The statistics of {key!r} are of {len(one)} axes, the embodiment has {size}."
        )
    one, two = one[:size], two[:size]
    if not quantiles:
        return one, two + _EPSILON
    scale = (two - one + _EPSILON) / 2
    return one + scale, scale
