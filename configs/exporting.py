"""A checkpoint, ours or a public one, in another format."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from configs.export_job import ExportJob
from configs.restoring import dump_config, is_public, load_policy, load_public
from policies.checkpoints.config import PublicConfig
from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError
from vla.files import require_vacant
from vla.training.checkpoint import CheckpointMeta, open_checkpoint

if TYPE_CHECKING:
    from policies.vla_policy import VlaPolicy


def export_policy(job: ExportJob) -> None:
    """Write `job.output`, completely or not at all.

    Raises:
        ConfigError: for a policy that the format cannot hold, or an output that exists.
    """
    from policies.vla_policy import VlaPolicy

    require_vacant(Path(job.output))
    policy, source = _load(job)
    if not isinstance(policy, VlaPolicy):
        raise ConfigError(
            f"{job.checkpoint} holds a {type(policy).__name__}, which runs as it is but is not "
            "written in another format; policies of one body with our own networks are."
        )
    output, console = Path(job.output), Console()
    if job.format == "lerobot":
        from policies.checkpoints.lerobot_export import export_lerobot

        kind = export_lerobot(policy, output)
        told = f"{output} (LeRobot, {kind})\nNext: lerobot-train --policy.path={output} ..."
    else:
        from vla.training.release import write_release
        from vla.training.weights import module_tensors

        contract = {"embodiment": policy.embodiment.to_json(), "source": job.checkpoint}
        if job.recipe.kind != "none":
            contract["quantization"] = _quantize(policy, job, source)
        meta = CheckpointMeta(config_yaml=dump_config(policy.config), contract=contract)
        write_release(output, meta, module_tensors(policy))
        told = f"{output}\nNext: vla eval checkpoint={output}"
    console.print(told, soft_wrap=True, markup=False)


def _quantize(policy: "VlaPolicy", job: ExportJob, source: str) -> dict[str, Any]:
    """Store it in few bits, in place, with scales from its weights alone; what is told of it.

    Raises:
        ConfigError: for one of ours, which `vla quantize` judges.
    """
    from policies.quantize.gate import describe_errors
    from policies.quantize.quantizer import quantize

    if not is_public(Path(job.checkpoint)):
        raise ConfigError(f"{job.checkpoint} is one of ours: use `vla quantize`, which judges it.")
    report = describe_errors(quantize(policy, job.recipe, []))
    unjudged = "its plans were never compared with the float policy's"
    return {
        "recipe": asdict(job.recipe),
        "layers": report["layers"],
        "report": report,
        "gate": {"passed": False, "faults": [unjudged], "override": True},
        "source_sha256": source,
    }


def _load(job: ExportJob) -> tuple[Policy, str]:
    """The policy and the SHA-256 of its weights."""
    if is_public(Path(job.checkpoint)):
        config = PublicConfig(
            path=job.checkpoint,
            key=job.key,
            body=job.body,
            cameras=job.cameras,
            rows=job.rows,
            tokenizer=job.tokenizer,
            dtype=job.dtype,
        )
        return load_public(config, device="cpu", embodiment=None)
    contract = open_checkpoint(job.checkpoint).contract
    if "embodiment" not in contract:
        raise ConfigError(f"{job.checkpoint} serves a family; only one body's can be exported.")
    body = Embodiment.from_json(contract["embodiment"])
    return load_policy(job.checkpoint, device="cpu", embodiment=body)
