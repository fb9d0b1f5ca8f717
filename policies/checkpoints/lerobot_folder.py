"""pi0, pi0.5 and SmolVLA from folders that LeRobot writes, as policies of this package.

Our own networks with their weights: plans are made in batches, continue committed rows and can
be fine-tuned, served and quantised like any other. What these networks cannot do here is
refused by name; `policy=lerobot` runs LeRobot's own code instead.
"""

from typing import Any

from torch import Tensor

from policies.backbones.language_config import PaligemmaConfig, SmolvlmConfig
from policies.checkpoints import pi0, smolvla
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.folder import PublicFolder
from policies.checkpoints.imported import Imported
from policies.checkpoints.lerobot_statistics import read_buffers
from policies.config import VlaPolicyConfig
from policies.heads.config_expert import ExpertConfig
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, EmbodimentMismatch

IMAGES, STATE = "observation.images.", "observation.state"
PALIGEMMA = "google/paligemma-3b-pt-224"
TYPES = ("pi0", "pi05", "smolvla")
# Only these values of LeRobot's options exist here.
_PI = {
    "paligemma_variant": "gemma_2b",
    "use_relative_actions": False,
    "min_period": 4e-3,
    "max_period": 4.0,
}
_REQUIRED: dict[str, dict[str, Any]] = {
    "pi0": _PI,
    "pi05": _PI,
    "smolvla": {
        "attention_mode": "cross_attn",
        "add_image_special_tokens": False,
        "adapt_to_pi_aloha": False,
        "use_delta_joint_actions_aloha": False,
        "min_period": 4e-3,
        "max_period": 4.0,
    },
}


def read_lerobot(folder: PublicFolder, config: PublicConfig, body: Embodiment) -> Imported:
    """The policy in `folder`.

    Raises:
        CheckpointError: for tensors or options that do not fit.
        EmbodimentMismatch: when it is for a body of other sizes or cameras.
        StatisticsError: when its statistics cannot be used.
    """
    settings = folder.settings
    kind = settings["type"]
    for key, value in _REQUIRED[kind].items():
        if settings.get(key, value) != value:
            raise CheckpointError(
                f"{folder.path}: {key} is {settings[key]!r}; our {kind} has only {value!r}. "
                "Run LeRobot's own code with policy=lerobot."
            )
    cameras = match_body(folder, config, body)
    buffers, mode = read_buffers(folder.path, state=STATE)
    weights = folder.read()
    if kind == "smolvla":
        made, named = _read_smolvla(settings, config, body, cameras, weights)
    else:
        made, named = read_pi(
            weights,
            config,
            body,
            cameras=cameras,
            steps=settings.get("num_inference_steps", 10),
            fit="pad_plain",
        )
    return Imported(
        source=str(folder.path),
        config=VlaPolicyConfig(
            horizon=settings["chunk_size"], normalization=mode, backbone=made[0], head=made[1]
        ),
        embodiment=body,
        weights=named | buffers,
    )


def match_body(folder: PublicFolder, config: PublicConfig, body: Embodiment) -> list[str]:
    """Names of the body's cameras in the checkpoint's order.

    Raises:
        EmbodimentMismatch: when sizes of state or actions differ, or a camera is missing.
    """
    inputs = folder.settings.get("input_features") or {}
    outputs = folder.settings.get("output_features") or {}
    lines = []
    for what, feature, ours in (
        ("state", inputs.get(STATE), len(body.state)),
        ("action", outputs.get("action"), len(body.action)),
    ):
        size = None if feature is None else feature["shape"][0]
        if size is not None and size != ours:
            lines.append(f"{what}: {size} axes there, {ours} in {body.name!r}")
    ours = {config.cameras.get(name, IMAGES + name): name for name in body.cameras}
    keys = [
        key
        for key, feature in inputs.items()
        if feature["type"] == "VISUAL" and ".empty_camera_" not in key
    ]
    lines += [f"camera {key!r}: {body.name!r} has {ours}" for key in keys if key not in ours]
    if lines:
        raise EmbodimentMismatch(
            f"{folder.path} is not for the embodiment {body.name!r}:\n  "
            + "\n  ".join(lines)
            + "\nGive the embodiment it was trained on; cameras of other names are mapped by "
            "policy.cameras, e.g. {front: observation.images.top}."
        )
    return [ours[key] for key in keys]


def read_pi(
    weights: dict[str, Tensor],
    config: PublicConfig,
    body: Embodiment,
    *,
    cameras: list[str],
    steps: int,
    fit: str,
) -> tuple[tuple[PaligemmaConfig, ExpertConfig], dict[str, Tensor]]:
    """Backbone and head of a pi0 or pi0.5, told apart by their tensors, and our weights."""
    adaptive = pi0.is_adaptive(weights)
    sizes = pi0.measure(weights)
    backbone = PaligemmaConfig(
        size="pi",
        tokenizer=config.tokenizer or PALIGEMMA,
        dtype=config.dtype,
        cameras=cameras,
        fit=fit,
        state="text" if adaptive else "none",
    )
    head = ExpertConfig(
        **sizes,
        state="none" if adaptive else "token",
        time="norm" if adaptive else "mlp",
        steps=steps,
    )
    if adaptive:
        expert = pi0.translate_adaptive_expert(weights, layers=sizes["layers"])
    else:
        expert = pi0.translate_expert(weights, layers=sizes["layers"], state_dim=len(body.state))
    return (backbone, head), pi0.translate_language(weights) | _place(expert, head, body)


def _read_smolvla(
    settings: dict[str, Any],
    config: PublicConfig,
    body: Embodiment,
    cameras: list[str],
    weights: dict[str, Tensor],
) -> tuple[tuple[SmolvlmConfig, ExpertConfig], dict[str, Tensor]]:
    sizes = smolvla.measure(weights)
    frozen = "frozen" if settings.get("train_expert_only", True) else "full"
    seeing = "frozen" if settings.get("freeze_vision_encoder", True) else frozen
    backbone = SmolvlmConfig(
        size="smolvla",
        tokenizer=config.tokenizer or settings["vlm_model_name"],
        dtype=config.dtype,
        vision=seeing,
        projector=frozen,
        language=frozen,
        layers=settings["num_vlm_layers"],
        cameras=cameras,
        fit="pad_corner",
    )
    every = settings["self_attn_every_n_layers"]
    head = ExpertConfig(
        **sizes,
        family="llama",
        joint_every=every,
        causal=True,
        state="none",
        steps=settings.get("num_steps", 10),
    )
    expert = smolvla.translate_expert(weights, layers=sizes["layers"])
    language = smolvla.translate_language(weights, state_dim=len(body.state))
    return (backbone, head), language | _place(expert, head, body)


def _place(expert: dict[str, Tensor], head: ExpertConfig, body: Embodiment) -> dict[str, Tensor]:
    """The expert's weights by the names they have in a policy, see `heads.expert_lanes`."""
    if len(body.action) > head.lanes:
        raise EmbodimentMismatch(
            f"The checkpoint has {head.lanes} action axes at most, {body.name!r} has "
            f"{len(body.action)}."
        )
    prefix = "head." if head.lanes == len(body.action) else "head.head."
    return {prefix + name: weight for name, weight in expert.items()}
