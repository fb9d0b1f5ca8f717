"""`vla convert`: demonstrations in a public format become a trajectory store."""

from rich.console import Console
from rich.progress import Progress

from configs.jobs import ConvertJob
from vla.data.convert.conversion import convert


def main(job: ConvertJob) -> None:
    """Convert everything or, on an error, leave nothing behind; list what was skipped."""
    source = job.source.build()
    with Progress() as bar:
        shown = bar.add_task("converting", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)

        store = convert(
            source, job.output, codec=job.codec, skip_bad=job.skip_bad, progress=advance
        )
    console = Console()
    for entry in store.provenance.get("skipped", []):
        console.print(f"skipped {entry['episode']}: {entry['reason']}", markup=False)
    console.print(
        f"{store.num_episodes} episodes, {store.num_frames} frames in {job.output}\n"
        f"Next: vla train data.path={job.output}"
    )
