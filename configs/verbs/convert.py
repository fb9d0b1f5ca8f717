"""`vla convert`: demonstrations in a public format become a trajectory store."""

from rich.console import Console
from rich.progress import Progress

from configs.schemas import ConvertJob
from vla.data.convert.conversion import convert


def main(job: ConvertJob) -> None:
    """Convert everything or, on an error, leave nothing behind."""
    source = job.source.build()
    with Progress() as bar:
        shown = bar.add_task("converting", total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(shown, completed=done, total=total)

        store = convert(source, job.output, progress=advance)
    Console().print(
        f"{store.num_episodes} episodes, {store.num_frames} frames in {job.output}\n"
        f"Next: vla train data.path={job.output}"
    )
