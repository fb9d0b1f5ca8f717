"""`vla list`: every group of the configuration and what can be chosen in it."""

from dataclasses import fields, is_dataclass

from rich.console import Console
from rich.table import Table

from configs.launch import list_choices
from configs.schemas import GROUPS, ListJob
from vla.errors import choose


def main(job: ListJob) -> None:
    """Print one table; `vla list group=policy/head` shows the keys of each choice in a group."""
    console = Console()
    if job.group:
        show_group(console, job.group)
        return
    table = Table(title="What can be chosen", title_justify="left")
    table.add_column("group", style="bold")
    table.add_column("choices")
    for group in sorted({*GROUPS, "experiment"}):
        table.add_row(group, ", ".join(list_choices(group)))
    console.print(table)
    console.print("Use them as `vla train policy/head=flow`; keys: `vla list group=policy/head`.")


def show_group(console: Console, group: str) -> None:
    """Print every kind of a group with its keys, defaults and one line on what it is."""
    kinds = choose("group", group, GROUPS)
    for kind, schema in kinds.items():
        summary = (schema.__doc__ or "").strip().splitlines()[0]
        console.print(f"\n[bold]{group}={kind}[/]  {summary}")
        table = Table()
        table.add_column("key", style="bold")
        table.add_column("default")
        for option in fields(schema):
            made = callable(option.default_factory)
            default = option.default_factory() if made else option.default
            if is_dataclass(default):
                default = type(default).__name__
            table.add_row(option.name, str(default))
        console.print(table)
    for name in sorted({*list_choices(group)} - {*kinds}):
        console.print(f"{group}={name}: a preset, see configs/{group}/{name}.yaml")
