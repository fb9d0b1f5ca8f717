"""`vla data info`: what a store holds, on one screen."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from configs.data_jobs import DataInfoJob
from vla.data.store import TrajectoryStore
from vla.data.view.contents import Contents, measure_contents
from vla.embodiment import Embodiment

SHOWN = 12
"""Instructions listed one by one."""


def main(job: DataInfoJob) -> None:
    """Print it; nothing is read but the manifest and the sizes of files."""
    store = TrajectoryStore.open(job.path)
    contents = measure_contents(store)
    console = Console()
    console.print(tabulate_axes(store.embodiment))
    console.print(tabulate_contents(store, contents))
    common = list(contents.instructions.items())
    for words, count in common[:SHOWN]:
        console.print(f"{count:7d}  {words or '(no instruction)'}", markup=False, highlight=False)
    if len(common) > SHOWN:
        console.print(f"         and {len(common) - SHOWN} more instructions", highlight=False)
    console.print(f"Next: vla data check path={job.path}", markup=False, highlight=False)


def tabulate_axes(embodiment: Embodiment) -> Table:
    """Every axis with unit, bounds, mode and frame."""
    title = (
        f"{embodiment.name}: {embodiment.hz:g} Hz, rotation {embodiment.rotation}, "
        f"gripper {embodiment.gripper}"
    )
    table = Table(title=escape(title), title_justify="left")
    for name in ("", "axis", "unit", "low", "high", "mode", "frame"):
        table.add_column(name, justify="right" if name in ("low", "high") else "left")
    for what in ("state", "action"):
        for index, axis in enumerate(getattr(embodiment, what)):
            bounds = f"{axis.low:.4g}", f"{axis.high:.4g}"
            first = "" if index else what
            table.add_row(first, axis.name, axis.unit, *bounds, axis.mode, axis.frame)
        table.add_section()
    return table


def tabulate_contents(store: TrajectoryStore, contents: Contents) -> Table:
    """Counts, sizes, origin."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    verdicts = ", ".join(f"{count} {name}" for name, count in contents.verdicts.items())
    table.add_row("episodes", f"{contents.episodes:,} ({contents.segments} segments)")
    table.add_row("steps", f"{contents.steps:,} ({contents.hours:.2f} hours)")
    table.add_row("success", verdicts or "no episodes")
    for name, camera in store.embodiment.cameras.items():
        size = contents.image_bytes[name]
        each = size / max(contents.steps, 1)
        text = (
            f"{camera.height}x{camera.width} {contents.codec}, {size / 1e6:.1f} MB "
            f"({each:,.0f} bytes a frame); {camera.source or 'unknown source'}, on {camera.mount}"
        )
        table.add_row(f"camera {name}", escape(text))
    table.add_row("other columns", f"{contents.other_bytes / 1e6:.2f} MB")
    for name, width in store.labels.items():
        table.add_row(f"label {escape(name)}", f"{width} wide")
    for key, value in store.provenance.items():
        text = str(value)
        table.add_row(escape(key), escape(text if len(text) < 300 else f"{text[:297]}..."))
    table.add_row("hash", store.hash)
    return table
