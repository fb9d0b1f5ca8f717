"""`vla data edit`: a store copied with changes."""

from rich.console import Console
from rich.progress import Progress

from configs.data_jobs import DataEditJob
from vla.data.copying import Edit, edit_store
from vla.data.store import TrajectoryStore


def main(job: DataEditJob) -> None:
    """Copy what is to stay."""
    store = TrajectoryStore.open(job.path)
    edit = Edit(drop=job.drop, instruction=job.read_instruction(), trim=job.read_trim())
    with Progress() as bar:
        shown = bar.add_task("copying", total=None)
        edited = edit_store(
            store,
            job.output,
            edit,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    told = f"{edited.num_episodes} episodes, {edited.num_frames} frames in {edited.path}"
    Console().print(told, markup=False, highlight=False)
