"""`vla data check`: what is wrong with a store, and what to do about it."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from configs.data_jobs import DataCheckJob
from vla.data.check.finding import SEVERITIES
from vla.data.check.inspection import Inspection, inspect_store
from vla.data.store import TrajectoryStore
from vla.data.view.check_page import write_check_page
from vla.files import write_json

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
EACH = 5
"""Findings of one kind shown on the screen; a file lists them all."""


def main(job: DataCheckJob) -> None:
    """Print findings and exit with 1 when there are errors (or, if strict, warnings)."""
    store = TrajectoryStore.open(job.path)
    console = Console()
    with Progress() as bar:
        shown = bar.add_task("reading", total=store.num_episodes)
        inspection = inspect_store(
            store,
            frames=job.frames,
            verify=job.verify,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    if inspection.findings:
        console.print(tabulate(inspection))
    counts = ", ".join(f"{severity}s: {inspection.count(severity)}" for severity in SEVERITIES)
    console.print(
        f"{counts}; {inspection.episodes} episodes, {inspection.steps} steps; "
        f"{inspection.decoded} pictures decoded ({job.frames} an episode and camera at most).",
        markup=False,
        highlight=False,
    )
    if job.output.endswith(".json"):
        write_json(Path(job.output), inspection.to_json())
    elif job.output:
        write_check_page(store, inspection, job.output)
    if job.output:
        console.print(f"All findings: {job.output}", markup=False, highlight=False)
    if inspection.count("error") or (job.strict and inspection.count("warning")):
        raise SystemExit(1)


def tabulate(inspection: Inspection) -> Table:
    """Findings by kind, the first few of each, with the remedy once."""
    table = Table(title=None, show_lines=True)
    table.add_column("finding", style="bold", overflow="fold")
    table.add_column("what was seen, and what to do", overflow="fold")
    for kind in dict.fromkeys(finding.kind for finding in inspection.findings):
        group = [finding for finding in inspection.findings if finding.kind == kind]
        severity = group[0].severity
        lines = []
        for finding in group[:EACH]:
            place = [] if finding.episode is None else [f"episode {finding.episode}"]
            place += [finding.camera] if finding.camera else []
            head = f"{', '.join(place)}: " if place else ""
            lines.append(escape(f"{head}{finding.message}"))
        if len(group) > EACH:
            numbers = {finding.episode for finding in group}
            lines.append(f"... {len(group)} such findings in {len(numbers)} episodes")
        lines.append(f"[dim]{escape(group[0].remedy)}[/]")
        colour = COLOURS[severity]
        table.add_row(f"{kind.replace('_', ' ')}\n[{colour}]{severity}[/]", "\n".join(lines))
    return table
