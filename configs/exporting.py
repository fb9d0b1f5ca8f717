"""A checkpoint, ours or a public one, in another format."""

from pathlib import Path

from rich.console import Console

from configs.export_job import ExportJob
from configs.restoring import dump_config, is_public, load_policy, load_public
from policies.checkpoints.config import PublicConfig
from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError
from vla.training.checkpoint import CheckpointMeta, open_checkpoint


def export_policy(job: ExportJob) -> None:
    """Write `job.output`, completely or not at all.

    Raises:
        ConfigError: for a policy that the format cannot hold.
    """
    from policies.vla_policy import VlaPolicy

    policy = _load(job)
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
        meta = CheckpointMeta(config_yaml=dump_config(policy.config), contract=contract)
        write_release(output, meta, module_tensors(policy))
        told = f"{output}\nNext: vla eval checkpoint={output}"
    console.print(told, soft_wrap=True, markup=False)


def _load(job: ExportJob) -> Policy:
    if is_public(Path(job.checkpoint)):
        config = PublicConfig(
            path=job.checkpoint,
            key=job.key,
            body=job.body,
            cameras=job.cameras,
            rows=job.rows,
            tokenizer=job.tokenizer,
        )
        return load_public(config, device="cpu", embodiment=None)[0]
    contract = open_checkpoint(job.checkpoint).contract
    if "embodiment" not in contract:
        raise ConfigError(f"{job.checkpoint} serves a family; only one body's can be exported.")
    body = Embodiment.from_json(contract["embodiment"])
    return load_policy(job.checkpoint, device="cpu", embodiment=body)[0]
