"""`vla data merge`: several stores of one embodiment copied into one."""

from rich.console import Console
from rich.progress import Progress

from configs.data_jobs import DataMergeJob
from vla.data.copying import merge_stores
from vla.data.store import TrajectoryStore


def main(job: DataMergeJob) -> None:
    """Copy everything once and list what was there already."""
    stores = [TrajectoryStore.open(path) for path in job.paths]
    with Progress() as bar:
        shown = bar.add_task("copying", total=None)
        merged, repeated = merge_stores(
            stores,
            job.output,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    console = Console()
    for store, number in repeated:
        told = f"left out {store.location}, episode {number}: there already"
        console.print(told, markup=False, highlight=False)
    told = f"{merged.num_episodes} episodes, {merged.num_frames} frames in {merged.path}"
    console.print(told, markup=False, highlight=False)
