"""`vla compare`: finished evaluations against each other, on the scenes they share."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from configs.compare_job import CompareJob
from vla.errors import DataError
from vla.evaluation.comparison import RunComparison, compare_runs
from vla.evaluation.report import write_report
from vla.evaluation.result import Evaluation, Rate
from vla.files import write_json


def main(job: CompareJob) -> None:
    """Print a table and a verdict per two runs; write comparison.json and report.html."""
    output, console = Path(job.output), Console()
    runs = {
        name: Evaluation.load(find_result(Path(folder), job.condition))
        for name, folder in name_runs(job.runs).items()
    }
    comparisons = compare_runs(runs, alpha=job.alpha)
    write_json(
        output / "comparison.json",
        {
            "runs": {name: str(run.directory) for name, run in runs.items()},
            "comparisons": [comparison.to_json() for comparison in comparisons],
        },
    )
    page = write_report(
        output / "report.html",
        title=f"Comparison of {', '.join(runs)}",
        comparisons=comparisons,
        provenance={name: {"folder": str(r.directory), **r.setup} for name, r in runs.items()},
    )
    for comparison in comparisons:
        console.print(tabulate(comparison))
        differing = ", ".join(comparison.differing) or "nothing: the same policy, run twice"
        console.print(f"{comparison.sentence}\nSetups differ in: {differing}.", markup=False)
    console.print(f"Report: {page}", markup=False)


def find_result(folder: Path, condition: str) -> Path:
    """The evaluation in a folder of `vla eval`, or the folder of one condition itself.

    Raises:
        DataError: when there is none; names the conditions that are there.
    """
    for path in (folder / condition, folder):
        if (path / "result.json").exists():
            return path
    there = sorted(path.parent.name for path in folder.glob("*/result.json"))
    raise DataError(
        f"{folder} holds no finished evaluation of condition={condition}; "
        f"there is {', '.join(there) or 'none at all'}. Run `vla eval output={folder}` to its end."
    )


def name_runs(folders: list[str]) -> dict[str, str]:
    """Folders by their last name, or by the whole path where last names clash."""
    names = [Path(folder).name for folder in folders]
    unique = len(set(names)) == len(names) and all(names)
    return dict(zip(names if unique else folders, folders, strict=True))


def tabulate(comparison: RunComparison) -> Table:
    """Both rates, the difference and the tests, by task."""
    percent = f"{100 * (1 - comparison.alpha):g} %"
    table = Table(
        title=f"successes, 95 % Wilson interval; difference in points, {percent} Newcombe",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    columns = ("task", comparison.first, comparison.second, "difference", "alone")
    for name in (*columns, "p\nadjusted", "winner"):
        table.add_column(name, overflow="fold", no_wrap=name == "difference")
    for row in comparison.rows:
        pairs = row.pairs
        table.add_row(
            row.task,
            show_rate(row.first),
            show_rate(row.second),
            f"{100 * pairs.difference:+.1f}\n{100 * pairs.low:.1f}, {100 * pairs.high:.1f}",
            f"{pairs.only_first} : {pairs.only_second}",
            f"{pairs.p_value:.2g}\n{row.adjusted_p:.2g}",
            getattr(comparison, row.winner) if row.winner else "none",
        )
    return table


def show_rate(rate: Rate) -> str:
    """A rate as two lines of text."""
    return f"{rate.successes}/{rate.n}\n{rate.low:.2f}–{rate.high:.2f}"
