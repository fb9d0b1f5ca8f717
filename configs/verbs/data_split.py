"""`vla data split`: a store copied into two, train and held_out."""

from rich.console import Console
from rich.progress import Progress

from configs.data_jobs import DataSplitJob
from vla.data.copying import split_store
from vla.data.store import TrajectoryStore


def main(job: DataSplitJob) -> None:
    """Copy both sides and say how large they are."""
    store = TrajectoryStore.open(job.path)
    with Progress() as bar:
        shown = bar.add_task("copying", total=store.num_episodes)
        sides = split_store(
            store,
            job.output,
            job.held_out,
            progress=lambda done, _: bar.update(shown, completed=done),
        )
    console = Console()
    for side in sides.values():
        told = f"{side.num_episodes} episodes, {side.num_frames} frames in {side.path}"
        console.print(told, markup=False, highlight=False)
