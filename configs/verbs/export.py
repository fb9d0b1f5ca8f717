"""`vla export`: a store becomes a LeRobot data set, or a checkpoint a LeRobot policy."""

import os

import av.logging
from rich.console import Console
from rich.progress import Progress

from configs.export_job import ExportJob
from vla.data.convert.lerobot_export import export
from vla.data.store import TrajectoryStore


def main(job: ExportJob) -> None:
    """Export everything or, on an error, leave nothing behind; list what was left out."""
    if job.checkpoint:
        from configs.exporting import export_policy

        export_policy(job)
        return
    store = TrajectoryStore.open(job.store)
    for key in ("SVT_LOG", "HF_DATASETS_DISABLE_PROGRESS_BARS"):  # they write over our own bar
        os.environ.setdefault(key, "1")
    av.logging.set_libav_level(av.logging.ERROR)
    with Progress() as bar:
        shown = bar.add_task("exporting", total=None)
        extra = export(
            store,
            job.output,
            episodes=store.split(job.episodes, job.held_out),
            video=job.video,
            codec=job.codec,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    console = Console()
    for line in extra.left_out:
        console.print(f"left out {line}", markup=False)
    console.print(
        f"{len(extra.episodes)} episodes, {sum(e.length for e in extra.episodes)} frames in "
        f"{job.output} (LeRobot v3.0)\nNext: lerobot-train --dataset.repo_id=local/set "
        f"--dataset.root={job.output} --policy.type=act --policy.push_to_hub=false",
        soft_wrap=True,
    )
