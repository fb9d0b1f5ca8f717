"""From plain values back to built parts: the YAML beside a checkpoint names kinds, never code."""

import hashlib
import os
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import yaml

from configs.schemas import GROUPS
from policies.checkpoints.config import PublicConfig
from policies.config import LerobotPolicyConfig, PolicyConfig, VlaPolicyConfig
from policies.quantize.config import RuntimeConfig
from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError, UnknownChoice, choose
from vla.family import Family
from vla.files import digest_file

if TYPE_CHECKING:
    from torch import nn

    from vla.data.stats import Statistics
    from vla.training.checkpoint import Checkpoint


_LORA = (
    "lora_rank, lora_alpha and lora_targets of the backbone are now policy/peft=lora. With "
    "lora_rank 0, delete the three lines; else load it with the version that wrote it."
)
_MOVED = dict.fromkeys(("lora_rank", "lora_alpha", "lora_targets"), _LORA)


def restore_config(group: str, value: dict[str, Any]) -> Any:
    """The config object of `group` that `value` describes; nested kinds come from the table too.

    Raises:
        ConfigError: for a kind or key that this version does not know.
    """
    schema = choose(f"kind of {group}", str(value.get("kind")), GROUPS[group])
    return _fill(schema, group, value)


def _fill(schema: type, group: str, value: dict[str, Any]) -> Any:
    known = [option.name for option in fields(schema)]
    types = get_type_hints(schema)
    arguments = {}
    for key, entry in value.items():
        if key in _MOVED:
            raise ConfigError(_MOVED[key])
        if key not in known:
            raise UnknownChoice(f"key of {group}={value.get('kind')}:", key, known)
        nested = f"{group}/{key}"
        if nested in GROUPS:
            entry = restore_config(nested, entry)
        elif is_dataclass(types[key]):  # a part that is always of one kind
            entry = _fill(types[key], nested, entry)
        arguments[key] = entry
    return schema(**arguments)


def build_policy(
    config: PolicyConfig, body: Embodiment | Family, statistics: "list[Statistics] | None"
) -> "nn.Module":
    """A policy for one body, or for a family; `statistics` has one entry per body.

    Raises:
        StatisticsError: when they do not fit. ConfigError: a policy that serves one body only.
    """
    if isinstance(body, Embodiment):
        return config.build(body, statistics[0] if statistics else None)
    if not isinstance(config, VlaPolicyConfig):
        raise ConfigError(f"policy={config.kind} serves one body only; train it on one store.")
    from policies.family_policy import FamilyPolicy

    return FamilyPolicy(config, body, statistics)


def dump_config(policy: PolicyConfig) -> str:
    """YAML text that `load_policy` reads back."""
    return yaml.safe_dump({"policy": asdict(policy)}, sort_keys=False)


def load_policy(path: str, *, device: str, embodiment: Embodiment) -> tuple[Policy, str]:
    """Build the policy of a checkpoint (or of a run's best one) and fill in its weights.

    Args:
        path: a run's folder, one checkpoint, the folder of a public policy (see
            `policies.checkpoints`; LeRobot's other types run in LeRobot's own code), or the
            address of a `vla serve` ("ws://HOST:PORT", "wss://..."), its token in VLA_TOKEN.
        device: see `pick_device`.
        embodiment: of the world it is meant for. Ours carry their own, which is compared
            by the caller; LeRobot's carry none and are taken at their dimensions.

    Returns:
        The policy, and the SHA-256 of its weights file.

    Raises:
        CheckpointError: when it is missing, damaged, or made by another version.
        ServingError: when a server does not answer.
    """
    if path.startswith(("ws://", "wss://")):
        from vla.serving.remote_policy import RemotePolicy

        remote = RemotePolicy(path, token=os.environ.get("VLA_TOKEN", ""))
        return remote, remote.weights_sha256
    from vla.training.checkpoint import open_checkpoint

    if is_public(Path(path)):
        return load_public(PublicConfig(path=path), device=device, embodiment=embodiment)
    checkpoint = open_checkpoint(path)
    policy = load_trained(checkpoint, device=device)
    if "family" in checkpoint.contract:
        policy.become(embodiment)
    sha256 = checkpoint.contract["weights_sha256"]
    if quantization := checkpoint.contract.get("quantization"):
        return _deploy(policy, quantization), sha256
    return policy, sha256


def read_policy_config(checkpoint: "Checkpoint") -> PolicyConfig:
    """What the policy of a checkpoint is made of. Raises CheckpointError."""
    try:
        return restore_config("policy", yaml.safe_load(checkpoint.config_yaml)["policy"])
    except (yaml.YAMLError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{checkpoint.path}/config.yaml does not describe a policy of this version: {error}"
        ) from error


def load_trained(checkpoint: "Checkpoint", *, device: str) -> "nn.Module":
    """Build the policy of one of our checkpoints, for all its bodies, and fill in its weights.

    Raises:
        CheckpointError: when it is damaged, or made by another version.
    """
    from vla.training.checkpoint import load_weights
    from vla.training.weights import fill_module, map_module

    config, contract = read_policy_config(checkpoint), checkpoint.contract
    body: Embodiment | Family
    if "family" in contract:
        body = Family.from_json(contract["family"])
    else:
        body = Embodiment.from_json(contract["embodiment"])
    quantization = contract.get("quantization")
    if quantization is None:
        policy = build_policy(config, body, None)
        load_weights(policy, checkpoint.path, put=fill_module)
    else:
        policy = _build_quantized(config, body, quantization)
        load_weights(policy, checkpoint.path, put=map_module)
    return policy.to(pick_device(device)).eval()


def _build_quantized(
    config: PolicyConfig, body: Embodiment | Family, quantization: dict[str, Any]
) -> "nn.Module":
    """A policy with empty quantized layers, which never existed in float, to be mapped."""
    from policies.quantize.quantizer import adopt
    from policies.quantize.storage import unfilled

    with unfilled():
        policy = build_policy(config, body, None)
    adopt(policy, quantization["layers"])
    return policy


def _deploy(policy: "nn.Module", quantization: dict[str, Any]) -> Policy:
    """Run it as its recipe says."""
    from policies.compiled import CompiledPolicy

    runtime = restore_config("recipe", quantization["recipe"]).runtime
    return policy if runtime == RuntimeConfig() else CompiledPolicy(policy, runtime)


def is_public(folder: Path) -> bool:
    """Whether a folder is somebody else's: ours have neither config.json nor pickles."""
    pickled = any(folder.glob("*.pt")) or any(folder.glob("checkpoints/*.pt"))
    return pickled or (folder / "config.json").is_file()


def load_public(
    config: PublicConfig, *, device: str, embodiment: Embodiment | None
) -> tuple[Policy, str]:
    """A public policy, and one SHA-256 over its weights files.

    Args:
        config: where it lies, a folder.
        device: see `pick_device`.
        embodiment: of the world; it is checked against what is known of the checkpoint.

    Raises:
        VlaError: see `policies.checkpoints.recognition.read`.
    """
    from policies.checkpoints.recognition import READ, read, recognize

    folder = Path(config.path)
    patterns = ("*.safetensors", "*--*.pt", "checkpoints/*.pt")
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    digest = hashlib.sha256("".join(map(digest_file, files)).encode()).hexdigest()
    if len(files) == 1:
        digest = digest_file(files[0])
    if not recognize(folder):
        if not (folder / "model.safetensors").is_file() or embodiment is None:
            raise CheckpointError(f"{folder} has none of the formats that are read: {READ}.")
        policy = LerobotPolicyConfig(path=config.path).build(embodiment, None)
        return policy, digest_file(folder / "model.safetensors")
    ours = read(config, embodiment).build()
    return ours.to(pick_device(device)).eval(), digest


def pick_device(name: str) -> str:
    """The device meant by `name`; "auto" is CUDA where there is one. Raises ConfigError."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but torch sees no GPU here; use device=cpu or auto.")
    return name
