"""`vla eval`: a checkpoint is tried over tasks, seeds and conditions."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from configs.jobs import EvalJob
from configs.restoring import load_policy
from configs.verbs.compare import find_result
from vla.contract import Policy
from vla.errors import DataError
from vla.evaluation.axes import split_conditions
from vla.evaluation.comparison import describe_scene
from vla.evaluation.conditions import compare_conditions
from vla.evaluation.config import AXIS_LEVELS, split_axis
from vla.evaluation.early import EarlyFinish
from vla.evaluation.evaluate import evaluate
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.power import describe_power
from vla.evaluation.probes import mean_figures, measure_language_use
from vla.evaluation.provenance import describe_world
from vla.evaluation.ray_launcher import RayPool, Shard
from vla.evaluation.report import write_report
from vla.evaluation.result import Evaluation, Rate
from vla.files import write_json

JOB_FILE = "job.json"
"""What `vla reproduce` reads."""


def main(job: EvalJob) -> None:
    """Run every condition on the same seeds; write results, summary.json and report.html."""
    output, console = Path(job.output), Console()
    conditions = job.world.list_conditions(job.evaluation.conditions)
    body = job.world.embodiment()  # a Gymnasium world builds an environment to find out
    policy, weights = load_policy(job.checkpoint, device=job.device, embodiment=body)
    policy.embodiment.require(body, mine="policy", theirs="world")
    console.print(describe_power(job.evaluation.episodes, len(job.world.tasks)))
    write_json(output / JOB_FILE, {"job": asdict(job), "weights_sha256": weights})
    results, early = {}, compare_with(job)
    for condition in conditions:
        results[condition] = run_condition(job, condition, policy, weights, console, early)
    summary = summarise(results, job.world.list_groups())
    if early is not None:
        summary["against"] = {"run": job.evaluation.against, "tasks": early.to_json()}
    write_json(output / "summary.json", summary)
    page = write_report(
        output / "report.html",
        title=f"Evaluation of {job.checkpoint}",
        evaluations=results,
        provenance={"job": asdict(job)},
    )
    words, axes = split_conditions(results)
    console.print(tabulate(words))
    if summary["groups"]:
        means = ", ".join(f"{name} {mean:.2f}" for name, mean in summary["groups"].items())
        console.print(f"mean rates: tasks {summary['mean_rate']:.2f}, {means}")
    for name, effect in summary["conditions"].items():
        if name in words:
            console.print(f"{name}: {effect['sentence']}")
    if axes:
        console.print(tabulate_axes(axes))
    if early is not None:
        for task, verdict in early.to_json().items():
            console.print(tell_verdict(task, **verdict), markup=False, highlight=False)
    console.print(f"Report: {page}\nNext: vla run checkpoint={job.checkpoint}")


def compare_with(job: EvalJob) -> EarlyFinish | None:
    """The comparison that may finish tasks early. Raises DataError when the scenes are others."""
    options = job.evaluation
    if not options.against:
        return None
    other = Evaluation.load(find_result(Path(options.against), "given"))
    mine = describe_scene({"world": describe_world(job.world), "max_steps": options.max_steps})
    theirs = describe_scene(other.setup)
    differing = [key for key in mine if mine[key] != theirs.get(key)]
    if differing:
        key = differing[0]
        raise DataError(
            f"{options.against} was not run on the same scenes: {key} is {theirs.get(key)} there "
            f"and {mine[key]} here."
        )
    return EarlyFinish(
        other.verdicts, tasks=job.world.tasks, seeds=options.list_seeds(), alpha=options.alpha
    )


def tell_verdict(task: str, winner: str | None, pairs: int, p_value: float) -> str:
    """One task's comparison as a sentence."""
    names = {"this": "better than", "other": "worse than", None: "not to be told from"}
    return f"{task}: {names[winner]} the other run after {pairs} pairs, p = {p_value:.2g}"


def run_condition(
    job: EvalJob,
    condition: str,
    policy: Policy,
    weights: str,
    console: Console,
    early: EarlyFinish | None = None,
) -> Evaluation:
    """Evaluate under one condition, with a bar that shows the running rate."""
    options = job.evaluation
    world = job.world if condition == "given" else job.world.under(condition)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("success {task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        shown = bar.add_task(f"{condition:<8}", total=None, rate="-")
        verdicts: list[bool] = []

        def advance(result: EpisodeResult, finished: int, total: int) -> None:
            verdicts.append(result.success)
            rate = f"{sum(verdicts) / len(verdicts):.2f}"
            bar.update(shown, completed=finished, total=total, rate=rate)

        return evaluate(
            policy,
            world,
            tasks=job.world.tasks,
            seeds=options.list_seeds(),
            control=job.control,
            directory=Path(job.output) / condition,
            workers=options.workers,
            batch=options.batch,
            threads=options.inference_threads,
            max_steps=options.max_steps,
            videos=options.videos if condition == "given" else 0,
            provenance={"weights_sha256": weights},
            progress=advance,
            launch=launch_on_cluster(job, world) if options.launcher == "ray" else None,
            early=early,
        )


def launch_on_cluster(job: EvalJob, world: Any) -> RayPool:
    """Episodes go to a Ray cluster, whose machines must see the checkpoint at the same path."""
    options = job.evaluation
    shard = Shard(
        factory=partial(load_there, job.checkpoint, job.device, job.world),
        world=world,
        control=job.control,
        batch=options.batch,
        threads=options.inference_threads,
        max_steps=options.max_steps,
    )
    return RayPool(shard=shard, workers=options.workers, address=options.address)


def load_there(checkpoint: str, device: str, world: Any) -> Policy:
    """The policy, in a process of the cluster."""
    return load_policy(checkpoint, device=device, embodiment=world.embodiment())[0]


def summarise(results: dict[str, Evaluation], groups: dict[str, list[str]]) -> dict:
    """Rates with their intervals per task, pooled, by group, and what each condition costs."""
    reference = "given" if "given" in results else next(iter(results))
    main = results[reference]
    effects = {}
    language = measure_language_use(results)
    if len(results) > 1:
        for name, effect in compare_conditions(results, reference).items():
            rates = effect.pairs.rates
            sentence = (
                f"success {rates[1]:.2f} against {rates[0]:.2f} on the same "
                f"{effect.pairs.n} scenes, exact McNemar p = {effect.pairs.p_value:.2g}"
            )
            tasks = {task: asdict(rate) for task, rate in results[name].tasks.items()}
            effects[name] = {**effect.to_json(), "sentence": sentence, "tasks": tasks}
    return {
        "tasks": {name: asdict(rate) for name, rate in main.tasks.items()},
        "pooled": asdict(main.pooled),
        "mean_rate": main.mean_rate,
        "groups": main.mean_groups(groups),
        "interval": "Wilson score, 95 %",
        "conditions": effects,
        "probes": {
            "language": asdict(language) if language else None,
            **mean_figures(episode.figures for episode in main.episodes),
        },
    }


def tabulate(results: dict[str, Evaluation]) -> Table:
    """Success by task and condition, with the Wilson interval."""
    table = Table(title="success [95 % Wilson interval]", title_justify="left")
    table.add_column("task")
    for name in results:
        table.add_column(name)
    for task in next(iter(results.values())).tasks:
        table.add_row(task, *(show(result.tasks[task]) for result in results.values()))
    table.add_row("all", *(show(result.pooled) for result in results.values()), style="bold")
    return table


def tabulate_axes(results: dict[str, Evaluation]) -> Table:
    """Success of all tasks together by axis and level; intervals and tests are in the report."""
    table = Table(title="success by axis and level", title_justify="left")
    for name in ("axis", *map(str, AXIS_LEVELS)):
        table.add_column(name)
    for axis in dict.fromkeys(split_axis(name)[0] for name in results):
        cells = (results.get(f"{axis}:{level}") for level in AXIS_LEVELS)
        table.add_row(axis, *(f"{cell.pooled.rate:.2f}" if cell else "" for cell in cells))
    return table


def show(rate: Rate) -> str:
    """A rate as text."""
    return f"{rate.rate:.2f} [{rate.low:.2f}, {rate.high:.2f}] n={rate.n}"
