"""The training loop.

    loader ──Batch──▶ Learner.update ──every so often──▶ log, validate, save ──▶ TrainingResult

Everything random is a function of (seed, step), so a run that was killed and resumed ends, on
the CPU, with exactly the weights of one that was not.
"""

import logging
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vla.errors import TrainingError
from vla.training.checkpoint import Checkpoint, CheckpointFolder, CheckpointMeta
from vla.training.config import TrainingConfig
from vla.training.distributed import SingleProcess, Team
from vla.training.learner import Augment, Learner
from vla.training.meter import Meter
from vla.training.stopping import StopRequest
from vla.training.tracking import Trackers, open_trackers
from vla.training.validation import Loader, Validation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        step: updates done, in this and in earlier parts of the run.
        finished: whether that is all of them; otherwise the run can be resumed.
        stopped_by: "SIGTERM", "SIGINT" or the time limit; empty when finished.
        latest: the newest checkpoint.
        best: the checkpoint of lowest validation loss; None without validation.
    """

    step: int
    finished: bool
    stopped_by: str
    latest: Checkpoint
    best: Checkpoint | None


def train(
    policy: nn.Module,
    loader: Loader,
    config: TrainingConfig,
    *,
    directory: Path | str,
    meta: CheckpointMeta,
    resume: bool = False,
    validation: Validation | None = None,
    augment: Augment | None = None,
    team: Team | None = None,
) -> TrainingResult:
    """Train `policy` for `config.steps` updates; leave checkpoints and metrics in `directory`.

    Args:
        policy: a TrainablePolicy, on the device to train on.
        loader: update s, counted from 1, reads the `accumulate` batches from
            (s - 1) * accumulate on.
        config: see TrainingConfig.
        directory: the run's own folder.
        meta: configuration and contract to save with the weights.
        resume: go on from the newest checkpoint; with none there, begin.
        validation: e.g. HeldOutLoss; sees the averaged weights. Its "loss" decides what is best.
        augment: `augment(batch, generator=...)`, drawing only from that CPU generator.
        team: the data-parallel processes this one belongs to; by default it is alone.

    Raises:
        TrainingError: on a non-finite loss or gradient, or when a new run would mix with an old.
        CheckpointError: when a checkpoint cannot be read or written.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    team, folder = team or SingleProcess(), Path(directory)
    leads = team.rank == 0
    learner = Learner(policy, config, folder=folder, team=team, augment=augment)
    checkpoints = CheckpointFolder(folder / "checkpoints", keep=config.keep)
    start = step = _begin(learner, checkpoints, resume=resume)
    reason, meter = "", Meter()
    with (
        StopRequest(config.time_limit_s) as stop,
        closing(loader.iterate(start * config.accumulate)) as batches,
        closing(_open_trackers(learner, folder, meta, start)) as tracker,
    ):
        for step in range(start + 1, config.steps + 1):
            meter.add(learner.update(step, batches))
            reason = team.agree(stop.reason)
            ends = bool(reason) or step == config.steps
            if ends or _due(step, config.log_every):
                tracker.log(meter.drain(), step=step)
            score = None
            if leads and validation and (_due(step, config.eval_every) or step == config.steps):
                score = _validate(learner, validation, tracker, step)
            if leads and (
                ends or _due(step, config.checkpoint_every) or checkpoints.improves(score)
            ):
                checkpoints.write(step, meta=meta, weights=learner.weights(),
                                  training=learner.training_state(), score=score)  # fmt: skip
            if reason:
                break
    team.agree("")  # The other ranks wait until rank 0 has saved.
    return _conclude(step, config.steps, reason, checkpoints)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _begin(learner: Learner, checkpoints: CheckpointFolder, *, resume: bool) -> int:
    """The step to start after: that of the newest checkpoint, restored, or 0."""
    steps = checkpoints.steps()
    if steps and not resume:
        raise TrainingError(
            f"{checkpoints.path} holds checkpoints up to step {steps[-1]} already. Give "
            "resume=true to go on from there, or another directory to begin anew."
        )
    if learner.team.rank == 0:
        checkpoints.clean()
    if not steps:
        return 0
    # A broken one is better found now than when it is time to save; the newest is the last.
    newest = [checkpoints.open(step) for step in steps][-1]
    saved = learner.restore(newest)
    now = learner.training_state().state
    changes = _differences(saved["training"], now["training"]) + _differences(saved, now)
    if changes:
        logger.warning(
            "Resuming from step %d with other settings, so the run will not equal an "
            "uninterrupted one: %s",
            newest.step,
            "; ".join(changes),
        )
    return newest.step


# Settings that do not enter the arithmetic of a step.
FREE = {
    "log_every", "checkpoint_every", "keep", "eval_every", "validation_batches", "time_limit_s",
    "trackers", "wandb_mode", "wandb_project",
}  # fmt: skip


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Scalars and lists whose change alters the arithmetic, as "name old -> new"."""
    return [
        f"{name} {before.get(name)} -> {value}"
        for name, value in after.items()
        if name not in FREE and not isinstance(value, dict) and before.get(name) != value
    ]


def _open_trackers(learner: Learner, folder: Path, meta: CheckpointMeta, start: int) -> Trackers:
    """Rank 0 reports; the others are silent."""
    if learner.team.rank > 0:
        return Trackers([])
    settings = {"training": asdict(learner.config), "config_yaml": meta.config_yaml}
    return open_trackers(learner.config, folder, start=start, settings=settings)


def _validate(
    learner: Learner, validation: Validation, tracker: Trackers, step: int
) -> float | None:
    """Judge the weights that would be deployed; return their loss, None if it is not finite."""
    with learner.deployed():
        metrics = validation(learner.policy)
    if "loss" not in metrics:
        raise TrainingError(
            f"The validation returned {', '.join(metrics) or 'nothing'}; it must return 'loss', "
            "which decides the best checkpoint."
        )
    tracker.log({f"validation/{name}": value for name, value in metrics.items()}, step=step)
    return metrics["loss"] if math.isfinite(metrics["loss"]) else None


def _conclude(step: int, steps: int, reason: str, checkpoints: CheckpointFolder) -> TrainingResult:
    latest = checkpoints.latest()
    if latest is None:
        raise TrainingError(f"{checkpoints.path} vanished during the run; nothing is left of it.")
    if step < steps:
        logger.warning(
            "Stopped at step %d of %d (%s) and saved %s. Run the same command with resume=true "
            "to go on.", step, steps, reason, latest.path,
        )  # fmt: skip
    return TrainingResult(
        step=step,
        finished=step == steps,
        stopped_by="" if step == steps else reason,
        latest=latest,
        best=checkpoints.best(),
    )
