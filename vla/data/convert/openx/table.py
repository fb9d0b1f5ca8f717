"""The one table of data sets, and the page that shows it."""

from vla.data.convert.bridge import RELABELLED
from vla.data.convert.openx import arms, franka, google
from vla.data.convert.openx.recipe import Part, Recipe

RECIPES: dict[str, Recipe] = {
    "bridge_orig": RELABELLED,
    "bridge_dataset": RELABELLED,
    **google.RECIPES,
    **franka.RECIPES,
    **arms.RECIPES,
}

HEAD = (
    "data set", "robot", "Hz", "cameras", "action", "gripper comes from", "state", "words",
    "checked on data", "notes",
)  # fmt: skip


def format_table() -> str:
    """Every recipe as a row of one Markdown table."""
    lines = [HEAD, ("---",) * len(HEAD)]
    lines += [_format_row(name, recipe) for name, recipe in sorted(RECIPES.items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _format_row(name: str, recipe: Recipe) -> tuple[str, ...]:
    edit = recipe.edit.__name__ if recipe.edit else ""
    grippers = [part for part in recipe.action if part.axes[-1].name.endswith("gripper")]
    return (
        f"`{name}`",
        recipe.robot,
        f"{recipe.hz:g}",
        ", ".join(f"{key} → {ours}" for key, ours in recipe.cameras.items()),
        ", ".join(filter(None, (_format_axes(recipe.action), edit))),
        ", ".join(_format_change(part) for part in grippers),
        _format_axes(recipe.state) or "none",
        recipe.language[0],
        "yes" if recipe.checked else "no",
        recipe.note,
    )


def _format_axes(parts: tuple[Part, ...]) -> str:
    """Runs of axes that share unit, mode and frame: "dx…dz [m, delta, base]"."""
    runs: list[tuple[str, list[str]]] = []
    for axis in (axis for part in parts for axis in part.axes):
        meaning = f"{axis.unit}, {axis.mode}, {axis.frame}"
        if not runs or runs[-1][0] != meaning:
            runs.append((meaning, []))
        runs[-1][1].append(axis.name)
    return ", ".join(
        f"{names[0]}{'…' + names[-1] if len(names) > 1 else ''} [{meaning}]"
        for meaning, names in runs
    )


def _format_change(part: Part) -> str:
    if not part.field:
        return f"constant {part.constant:g}"
    return f"{part.field}{', ' + part.change.__name__ if part.change else ''}"
