"""Which public format a folder has, and the one way to read it."""

from pathlib import Path

from policies.checkpoints import lerobot_folder
from policies.checkpoints.cogact import read_cogact
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.folder import PublicFolder, read_json
from policies.checkpoints.imported import Imported
from policies.checkpoints.openpi import read_openpi
from policies.checkpoints.openvla import read_openvla
from policies.checkpoints.openvla_oft import read_oft
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError

READ = (
    "OpenVLA, OpenVLA-OFT, CogACT, LeRobot's pi0, pi05 and smolvla, openpi's PyTorch pi0 and pi0.5"
)


PRISMATIC = {"openvla": read_openvla, "oft": read_oft, "cogact": read_cogact}
"""Readers of those whose statistics tell the body."""


def recognize(path: Path) -> str:
    """The format: "openvla", "oft", "cogact", "lerobot" (if read here), "openpi", or "".

    Raises:
        CheckpointError: for a format that is known but cannot be read, with the reason.
    """
    if any(path.glob("*/default/checkpoint")) or (path / "params" / "_METADATA").exists():
        raise CheckpointError(
            f"{path} is a JAX checkpoint (Octo, openpi), which needs JAX and Orbax to be read. "
            "openpi's become PyTorch by its examples/convert_jax_model_to_pytorch.py."
        )
    if not (path / "config.json").is_file():
        return ""
    settings = read_json(path / "config.json")
    if any(path.glob("checkpoints/*.pt")):
        return "cogact"
    if settings.get("model_type") == "openvla":
        return "oft" if any(path.glob("action_head--*")) else "openvla"
    if settings.get("type") in lerobot_folder.TYPES:
        return "lerobot"
    return "openpi" if "action_horizon" in settings else ""


def read(config: PublicConfig, body: Embodiment | None) -> Imported:
    """Read the policy that `config` names.

    Args:
        config: where, and what of it.
        body: that of the world or of the data; `config.body` counts more. None: only what is
            known by `config.key` can be read.

    Raises:
        CheckpointError: when the format is unknown or the weights do not fit.
        ConfigError: when the body or the statistics must be chosen.
        EmbodimentMismatch, StatisticsError: when these do not fit.
    """
    if not config.path:
        raise ConfigError("policy.path is empty; give the folder or hub name of a public policy.")
    if Path(config.path).is_dir():
        recognize(Path(config.path))  # what has no config.json is told apart first
    folder = PublicFolder.open(config.path, config.revision)
    kind = recognize(folder.path)
    own = config.read_body() or body
    if kind in PRISMATIC:
        return PRISMATIC[kind](folder, config, own)
    if not kind:
        raise CheckpointError(
            f"{folder.path} has none of the formats that are read: {READ}. Other LeRobot "
            "policies run with policy=lerobot."
        )
    if own is None:
        raise ConfigError(
            f"{folder.path} does not say what its axes mean; give the embodiment as JSON in "
            "policy.body (body= of `vla export`)."
        )
    reader = lerobot_folder.read_lerobot if kind == "lerobot" else read_openpi
    return reader(folder, config, own)
