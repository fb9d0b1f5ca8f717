"""`vla leaderboard`: many evaluations on one page."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from configs.leaderboard_job import LeaderboardJob
from vla.evaluation.leaderboard import find_entries, rank_entries
from vla.evaluation.leaderboard_page import write_leaderboard


def main(job: LeaderboardJob) -> None:
    """Find, rank, print, write the page."""
    root, console = Path(job.runs), Console()
    arenas = rank_entries(find_entries(root), alpha=job.alpha)
    for arena in arenas:
        table = Table(title="success [95 % Wilson interval]", title_justify="left")
        for name in ("rank", "run", "success", "n"):
            table.add_column(name)
        for standing in arena.standings:
            rate = standing.entry.main.pooled
            best, worst = standing.best, standing.worst
            table.add_row(
                str(best) if best == worst else f"{best}-{worst}",
                standing.entry.name,
                f"{rate.rate:.2f} [{rate.low:.2f}, {rate.high:.2f}]",
                str(rate.n),
            )
        console.print(table)
        for comparison in arena.comparisons:
            console.print(comparison.sentence, markup=False)
    page = write_leaderboard(
        Path(job.output or root / "leaderboard.html"), title=job.title, arenas=arenas
    )
    console.print(f"Page: {page}", markup=False)
