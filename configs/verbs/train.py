"""`vla train`: a store becomes a policy, with curves, held-out errors and a report."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from configs.restoring import dump_config, load_policy, pick_device
from configs.schemas import TrainJob
from policies.config import VlaPolicyConfig
from vla.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vla.data.store import TrajectoryStore

PREDICTORS = ("policy", "mean_action", "previous_action")


def main(job: TrainJob) -> None:
    """Train, then measure the best checkpoint open loop on the held-out episodes."""
    import torch

    from vla.data.augment import augment
    from vla.data.stats import compute_statistics
    from vla.training.checkpoint import CheckpointMeta
    from vla.training.loop import train
    from vla.training.validation import HeldOutLoss

    if not isinstance(job.policy, VlaPolicyConfig):
        raise ConfigError(
            f"policy={job.policy.kind} is not trained here; train LeRobot's policies with "
            "lerobot-train, and evaluate the result with `vla eval checkpoint=FOLDER`."
        )
    store = job.data.open()
    seen, held_out = (store.split(name, job.data.held_out) for name in ("train", "held_out"))
    statistics = compute_statistics(store, seen)
    torch.manual_seed(job.training.seed)  # the initial weights
    policy = job.policy.build(store.embodiment, statistics).to(pick_device(job.device))
    windows = {
        "history": job.policy.history,
        "horizon": job.policy.horizon,
        "batch_size": job.training.batch_size,
        "seed": job.training.seed,
    }
    validation = None
    if len(held_out):
        fixed = job.data.build(store, split="held_out", **windows)
        validation = HeldOutLoss(fixed, job.training)
    result = train(
        policy,
        job.data.build(store, **windows),
        job.training,
        directory=job.output,
        meta=CheckpointMeta(
            config_yaml=dump_config(job.policy),
            contract={
                "embodiment": store.embodiment.to_json(),
                "embodiment_hash": store.embodiment.hash,
                "statistics": statistics.to_json(),
                "store_hash": store.hash,
            },
        ),
        resume=job.resume,
        validation=validation,
        augment=partial(augment, config=job.augment),
    )
    if not result.finished:
        raise SystemExit(3)  # the loop has said how to go on
    conclude(job, store, seen, held_out)


def conclude(
    job: TrainJob,
    store: "TrajectoryStore",
    seen: "NDArray[np.int64]",
    held_out: "NDArray[np.int64]",
) -> None:
    """Measure the deployed weights on the held-out episodes and write the report."""
    from vla.evaluation.open_loop import measure_open_loop
    from vla.evaluation.report import write_report

    output, console = Path(job.output), Console()
    errors = None
    if len(held_out):
        policy, _ = load_policy(job.output, device=job.device, embodiment=store.embodiment)
        errors = measure_open_loop(
            policy, store, held_out=held_out, train=seen, path=output / "open_loop.json"
        )
        console.print(tabulate(errors))
    page = write_report(
        output / "report.html",
        title=f"Training on {Path(job.data.path).name}",
        metrics=output / "metrics.jsonl",
        open_loop=errors,
        provenance={"job": asdict(job), "store hash": store.hash},
    )
    console.print(f"Report: {page}\nNext: vla eval checkpoint={job.output}")


def tabulate(errors: dict[str, Any]) -> Table:
    """Held-out error of the first planned action per axis, beside the baselines."""
    table = Table(
        title=f"held-out mean absolute error, {errors['episodes']} episodes", title_justify="left"
    )
    for column in ("axis", "unit", *PREDICTORS):
        table.add_column(column)
    for index, axis in enumerate(errors["axes"]):
        values = [errors["errors"][who]["l1_row_0"]["value"][index] for who in PREDICTORS]
        table.add_row(axis["name"], axis["unit"], *(f"{value:.4g}" for value in values))
    return table
