"""`vla data compact`: few large segments instead of many small ones."""

from rich.console import Console

from configs.data_jobs import DataCompactJob
from vla.data.store import TrajectoryStore


def main(job: DataCompactJob) -> None:
    """Merge, delete what is old enough, and say how many folders went."""
    store = TrajectoryStore.open(job.path)
    before = len(store.manifest.segments)
    store.compact()
    deleted = store.collect_garbage(job.keep_hours * 3600)
    Console().print(
        f"{before} segments became {len(store.manifest.segments)}; "
        f"{len(deleted)} old folders deleted."
    )
