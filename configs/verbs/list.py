"""`vla list`: every group of the configuration and what can be chosen in it."""

from dataclasses import fields, is_dataclass
from importlib.resources import files

from rich.console import Console
from rich.table import Table

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
        table.add_row(group, ", ".join(sorted({*GROUPS.get(group, ()), *presets(group)})))
    console.print(table)
    console.print("Use them as `vla train policy/head=flow`; keys: `vla list group=policy/head`.")


def presets(group: str) -> list[str]:
    """Names of the YAML files in `configs/{group}/`."""
    folder = files("configs").joinpath(group)
    if not folder.is_dir():
        return []
    return [f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")]


def show_group(console: Console, group: str) -> None:
    """Print every kind of a group with its keys, defaults and one line on what it is."""
    kinds = choose("group", group, GROUPS)
    for kind, schema in kinds.items():
        summary = (schema.__doc__ or "").strip().splitlines()[0]
        table = Table(title=f"{group}={kind}  {summary}", title_justify="left")
        table.add_column("key", style="bold")
        table.add_column("default")
        for option in fields(schema):
            value = schema.__dataclass_fields__[option.name]
            default = value.default_factory() if callable(value.default_factory) else value.default
            if is_dataclass(default):
                default = type(default).__name__
            table.add_row(option.name, str(default))
        console.print(table)
    for name in presets(group):
        console.print(f"{group}={name}: a preset, see configs/{group}/{name}.yaml")
