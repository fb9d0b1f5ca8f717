"""`vla merge`: adapters become part of the weights."""

import logging
from dataclasses import replace
from pathlib import Path

from configs.restoring import dump_config, load_trained, read_policy_config
from configs.schemas import MergeJob
from policies.config import VlaPolicyConfig
from policies.peft.config import PeftConfig
from vla.errors import CheckpointError

log = logging.getLogger(__name__)


def main(job: MergeJob) -> None:
    """Load, merge, write.

    Raises:
        CheckpointError: when the checkpoint is no policy with adapters, or `output` exists.
    """
    from vla.training.checkpoint import open_checkpoint
    from vla.training.deployed import CheckpointMeta, write_weights
    from vla.training.weights import module_tensors

    output = Path(job.output)
    if output.exists():
        raise CheckpointError(f"{output} exists; give another output.")
    source = open_checkpoint(job.checkpoint)
    config = read_policy_config(source)
    if not isinstance(config, VlaPolicyConfig) or config.peft.kind == "none":
        raise CheckpointError(f"{source.path} has no adapters; there is nothing to merge.")
    policy = load_trained(source, device=job.device)
    getattr(policy, "inner", policy).merge_adapters()  # a family's policy wraps one
    plain = dump_config(replace(config, peft=PeftConfig()))
    write_weights(
        output,
        step=source.step,
        score=source.score,
        meta=CheckpointMeta(config_yaml=plain, contract=source.contract),
        weights=module_tensors(policy),
    )
    log.info(f"Merged {source.path}\nNext: vla eval checkpoint={output}")
