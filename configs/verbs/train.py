"""`vla train`: a store becomes a policy, with curves, held-out errors and a report."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from configs.jobs import TrainJob
from configs.restoring import build_policy, dump_config, load_policy, pick_device
from policies.checkpoints.config import PublicConfig
from policies.config import VlaPolicyConfig
from vla.embodiment import Embodiment
from vla.errors import ConfigError
from vla.files import write_json

if TYPE_CHECKING:
    from policies.checkpoints.imported import Imported
    from vla.data.training_data import TrainingData


def main(job: TrainJob) -> None:
    """Train, then measure the best checkpoint open loop on the held-out episodes."""
    import torch

    from vla.data.augment import augment
    from vla.training.checkpoint import CheckpointMeta
    from vla.training.loop import train
    from vla.training.validation import HeldOutLoss

    data = job.data.open()
    public = read_public(job, data.body)
    config = public.config if public else job.policy
    if not isinstance(config, VlaPolicyConfig):
        raise ConfigError(
            f"policy={config.kind} is not trained here; train LeRobot's policies with "
            "lerobot-train, and evaluate the result with `vla eval checkpoint=FOLDER`."
        )
    rows = config.horizon if config.relative_actions else 0
    statistics = data.statistics(relative_rows=rows)
    contract = data.describe(statistics)
    if job.resume:
        require_same_data(job.output, contract)
    torch.manual_seed(job.training.seed)  # the initial weights
    made = public.build(statistics[0]) if public else build_policy(config, data.body, statistics)
    policy = made.to(pick_device(job.device))
    windows = {
        "history": config.history,
        "horizon": config.horizon,
        "batch_size": job.training.batch_size,
        "seed": job.training.seed,
    }
    validation = None
    if data.count("held_out"):
        validation = HeldOutLoss(data.load("held_out", **windows), job.training)
    result = train(
        policy,
        data.load("train", **windows),
        job.training,
        directory=job.output,
        meta=CheckpointMeta(config_yaml=dump_config(config), contract=contract),
        resume=job.resume,
        validation=validation,
        augment=partial(augment, config=job.augment),
    )
    if not result.finished:
        raise SystemExit(3)  # the loop has said how to go on
    conclude(job, data, contract["data"])


def read_public(job: TrainJob, body: Any) -> "Imported | None":
    """The public policy that training starts from, None for an untrained one."""
    if not isinstance(job.policy, PublicConfig):
        return None
    if not isinstance(body, Embodiment):
        raise ConfigError("policy=public serves one body only; train it on one store.")
    from policies.checkpoints.recognition import read

    return read(job.policy, body)


def require_same_data(output: str, contract: dict[str, Any]) -> None:
    """Stop when a run would go on with other data than it began with. Raises ConfigError."""
    from vla.training.checkpoint import CheckpointFolder

    folder = CheckpointFolder(Path(output) / "checkpoints", keep=1)
    for step in folder.steps()[-1:]:
        before = folder.open(step).contract.get("data")
        if before != contract["data"]:
            raise ConfigError(
                f"{output} was trained on other data up to step {step}: {before}; now it would be "
                f"{contract['data']}. Give the same data, or another output to begin anew."
            )


def conclude(job: TrainJob, data: "TrainingData", described: dict[str, Any]) -> None:
    """Measure the deployed weights on each store's held-out episodes and write the report."""
    from vla.evaluation.open_loop import measure_open_loop
    from vla.evaluation.report import write_report

    output, console = Path(job.output), Console()
    errors: dict[str, Any] = {}
    for store in data.stores:
        seen, held_out = (data.episodes(store, split) for split in ("train", "held_out"))
        if len(held_out) and len(seen):
            policy, _ = load_policy(job.output, device=job.device, embodiment=store.embodiment)
            name = store.name
            errors[name] = measure_open_loop(policy, store, held_out=held_out, train=seen)
            console.print(tabulate(errors[name], name))
    write_json(output / "open_loop.json", errors)
    page = write_report(
        output / "report.html",
        title=f"Training on {', '.join(store.name for store in data.stores)}",
        metrics=output / "metrics.jsonl",
        open_loop=errors,
        provenance={"job": asdict(job), "data": described},
    )
    console.print(f"Report: {page}\nNext: vla eval checkpoint={job.output}")


def tabulate(errors: dict[str, Any], name: str) -> Table:
    """Held-out error of the first planned action per axis, beside the baselines."""
    table = Table(
        title=f"{name}: mean absolute error on {errors['episodes']} held-out episodes",
        title_justify="left",
    )
    predictors = errors["errors"]
    for column in ("axis", "unit", *predictors):
        table.add_column(column)
    for index, axis in enumerate(errors["axes"]):
        values = [predictor["l1_row_0"]["value"][index] for predictor in predictors.values()]
        table.add_row(axis["name"], axis["unit"], *(f"{value:.4g}" for value in values))
    return table
