"""`vla data stats`: exact statistics of every axis over one split."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from configs.data_jobs import DataStatsJob
from vla.data.stats import FIELDS, compute_statistics
from vla.data.store import TrajectoryStore
from vla.data.view.statistics_page import list_rows, write_statistics_page


def main(job: DataStatsJob) -> None:
    """Print a table; axes that cannot be normalised are marked."""
    store = TrajectoryStore.open(job.path)
    episodes = store.split(job.split, job.held_out)
    statistics = compute_statistics(store, episodes)
    console = Console()
    count = statistics.state.count
    table = Table(
        title=f"{job.split}: {len(episodes)} of {store.num_episodes} episodes, {count} steps",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("", "axis", "unit", *FIELDS, ""):
        table.add_column(name, justify="right" if name in FIELDS else "left", no_wrap=True)
    for what, vector in (("state", statistics.state), ("action", statistics.action)):
        units = [axis.unit for axis in getattr(store.embodiment, what)]
        for number, row in enumerate(list_rows(vector, units)):
            table.add_row("" if number else what, *row[:-1], f"[red]{row[-1]}[/]")
        table.add_section()
    console.print(table)
    if job.output:
        page = write_statistics_page(store, episodes.tolist(), statistics, job.output)
        console.print(f"Page: {page}", markup=False, highlight=False)
