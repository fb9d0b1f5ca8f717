"""`vla data view`: one episode as a page, or as a Rerun recording."""

from rich.console import Console

from configs.data_jobs import DataViewJob
from vla.data.store import TrajectoryStore
from vla.data.view.episode_page import write_episode_page
from vla.data.view.recording import write_recording


def main(job: DataViewJob) -> None:
    """Write it and say how to open it."""
    store = TrajectoryStore.open(job.path)
    if job.rerun:
        path = write_recording(store, job.episode, job.output or f"episode-{job.episode}.rrd")
        told = f"Recording: {path}\nNext: rerun {path}"
    else:
        path = write_episode_page(store, job.episode, job.output or f"episode-{job.episode}.html")
        told = f"Page: {path}"
    Console().print(told, markup=False, highlight=False)
