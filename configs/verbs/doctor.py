"""`vla doctor`: what this machine can do, each finding with its remedy."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from configs.findings import Finding, check_machine
from configs.findings_devices import check_contract, check_latency, check_ports
from configs.jobs import DoctorJob


def main(job: DoctorJob) -> None:
    """Print the findings; exit status 1 when something vital is broken."""
    findings = [
        *check_machine(),
        *check_ports(),
        *check_latency(),
        *check_contract(job.checkpoint, job.robot, job.world),
    ]
    console = Console()
    console.print(tabulate(findings))
    open_ends = [finding for finding in findings if finding.remedy]
    vital = [finding.subject for finding in open_ends if finding.vital]
    if vital:
        console.print(f"[red]Broken:[/] {', '.join(vital)}.", highlight=False)
        raise SystemExit(1)
    told = f"{len(open_ends)} could be better" if open_ends else "nothing to mend"
    console.print(f"Ready ({told}). Next: vla demo, or vla run checkpoint=... robot=...")


def tabulate(findings: Sequence[Finding]) -> Table:
    """A row each; remedies wrap, so that they can be copied."""
    table = Table(title="vla doctor", title_justify="left")
    table.add_column("")
    table.add_column("subject", no_wrap=True)
    for column in ("found", "remedy"):
        table.add_column(column, overflow="fold", ratio=1)
    for finding in findings:
        broken = "[red]x[/]" if finding.vital else "[yellow]![/]"
        mark = broken if finding.remedy else "[green]ok[/]"
        words = (finding.subject, finding.found, finding.remedy)
        table.add_row(mark, *(escape(each) for each in words))
    return table
