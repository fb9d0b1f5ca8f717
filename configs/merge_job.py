"""The job of `vla merge`."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass(kw_only=True, slots=True)
class MergeJob:
    """Add a checkpoint's adapters to the weights beside them.

    The result is a checkpoint of a policy without adapters: as fast as one, independent of
    policy.peft.base, and possibly the base of further adapters. It cannot be resumed.

    Attributes:
        checkpoint: a run's folder (its best checkpoint is taken) or one checkpoint.
        device: as for training.
        output: folder of the merged checkpoint.
    """

    checkpoint: str = MISSING
    device: str = "cpu"
    output: str = MISSING
