"""`vla triage`: likely causes of failure, ranked."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from configs.bedside import Bedside, find_recorder
from configs.restoring import load_policy
from configs.triage_job import TriageJob
from vla.evaluation.findings import Finding
from vla.evaluation.triage import diagnose
from vla.files import write_json
from vla.types import Trajectory


def main(job: TriageJob) -> None:
    """Record, replay, compare; print the ranking and write triage.json."""
    console, body = Console(), job.world.embodiment()
    bedside = Bedside(
        build=job.world.build,
        record=find_recorder(job.world),
        tasks=job.world.tasks,
        episodes=job.episodes,
        control=job.control,
        max_steps=job.max_steps,
        first_seed=job.first_seed,
    )
    policy, weights = load_policy(job.checkpoint, device=job.device, embodiment=body)
    policy.embodiment.require(body, mine="policy", theirs="world")
    live = bedside.observe_experts()
    chain = bedside.try_chain(policy)
    reference = read_reference(job.demonstrations, len(live)) if job.demonstrations else []
    findings, figures = diagnose(policy, live, chain=chain, reference=reference)
    figures["experts"] = {"tried": bedside.tried, "succeeded": bedside.managed}
    write_json(
        Path(job.output) / "triage.json",
        {
            "job": asdict(job),
            "weights_sha256": weights,
            "findings": [asdict(finding) for finding in findings],
            "figures": figures,
        },
    )
    console.print(
        f"success {chain.success:.2f}; random actions {chain.floor:.2f}; demonstrations replayed "
        f"{chain.replayed.get('as it is', 0.0):.2f}; experts {bedside.managed} of {bedside.tried} "
        "scenes"
    )
    show(console, findings)
    console.print(f"Figures: {Path(job.output) / 'triage.json'}", markup=False)


def read_reference(path: str, most: int) -> list[Trajectory]:
    """At most `most` episodes of the training data, evenly spread over the store."""
    from vla.data.store import TrajectoryStore

    store = TrajectoryStore.open(path)
    picks = np.unique(np.linspace(0, store.num_episodes - 1, most).astype(int))
    return [store.episode(int(index)) for index in picks]


def show(console: Console, findings: list[Finding]) -> None:
    """The ranking as a table, or that there is nothing to name."""
    if not findings:
        console.print("No cause found: plans, control chain and words are as they should be.")
        return
    table = Table(title="likely causes, the likeliest first", title_justify="left")
    for name in ("score", "cause", "evidence", "remedy"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        table.add_row(f"{finding.score:.2f}", finding.cause, finding.evidence, finding.remedy)
    console.print(table)
