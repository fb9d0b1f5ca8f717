"""The leaderboard as one HTML page."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from math import cos, pi, sin
from pathlib import Path

from vla.evaluation.charts import COLOURS, draw_heat_map, draw_intervals, draw_legend
from vla.evaluation.failures import count_failures
from vla.evaluation.leaderboard import Arena, Entry, Standing
from vla.evaluation.report import write_page
from vla.evaluation.result import Rate
from vla.evaluation.sections import make_section
from vla.evaluation.statistics import exact_interval

Cell = tuple[float, str, str, bool]
RADAR_RUNS = COLOURS
"""More outlines in one radar than colours would not be told apart."""


def write_leaderboard(path: str | Path, *, title: str, arenas: Sequence[Arena]) -> Path:
    """Write the page; self-contained, with links to the runs' own reports. Returns `path`."""
    path = Path(path)
    parts = []
    for number, arena in enumerate(arenas, start=1):
        suffix = f", scenes {number} of {len(arenas)}" if len(arenas) > 1 else ""
        parts += [
            _show_standings(arena, path.parent, suffix),
            _show_verdicts(arena),
            _show_tasks(arena),
            _show_axes(arena),
            _show_failures(arena),
        ]
    return write_page(path, title, parts)


def _show_standings(arena: Arena, start: Path, suffix: str) -> str:
    head = ("rank", "run", "success", "95 % Wilson", "exact", "language use", "wrong grasps",
            "jerk at seams")  # fmt: skip
    rows = ""
    for standing in arena.standings:
        entry, rate = standing.entry, standing.entry.main.pooled
        low, high = exact_interval(rate.successes, rate.n)
        cells = (
            _show_rank(standing),
            _link(entry, start),
            f"{100 * rate.rate:.1f} % ({rate.successes} of {rate.n})",
            f"{100 * rate.low:.1f}–{100 * rate.high:.1f}",
            f"{100 * low:.1f}–{100 * high:.1f}",
            *_show_probes(entry),
        )
        kinds = ("number", "value", *["number"] * (len(cells) - 2))
        rows += "<tr>"
        rows += "".join(f'<td class="{k}">{c}</td>' for k, c in zip(kinds, cells, strict=True))
        rows += "</tr>"
    top = "".join(
        f'<th class="{"value" if name == "run" else "number"}">{name}</th>' for name in head
    )
    chart = draw_intervals([_make_row(standing) for standing in arena.standings])
    first = arena.standings[0].entry.main
    note = (
        f"Tasks: {', '.join(first.tasks)}. A rank is a range: the runs that are better beyond "
        "chance stand above it, those that are worse below; runs with equal ranges cannot be "
        "told apart. Wilson intervals cover 95 % on average over true rates, the exact ones "
        "(Clopper-Pearson) at least 95 % for each. Language use: 1 when success needs the right "
        "words, 0 when words do not matter. Wrong grasps: per episode. Jerk at seams: second "
        "difference of the command where plans meet, relative to that inside plans."
    )
    table = f'<div class="scroll"><table><tr>{top}</tr>{rows}</table></div>'
    return make_section(f"Standings{suffix}", chart + table, note)


def _show_rank(standing: Standing) -> str:
    if standing.best == standing.worst:
        return f"<b>{standing.best}</b>"
    return f"{standing.best}–{standing.worst}"


def _link(entry: Entry, start: Path) -> str:
    report = entry.folder / "report.html"
    if not report.exists():
        return escape(entry.name)
    address = Path(os.path.relpath(report, start)).as_posix()
    return f'<a href="{escape(address, quote=True)}">{escape(entry.name)}</a>'


def _show_probes(entry: Entry) -> tuple[str, str, str]:
    language, figures = entry.language, entry.figures
    index = "–" if language is None or language.index is None else f"{language.index:.2f}"
    grasps = figures.get("wrong_grasps")
    seam, inner = figures.get("seam_jerk"), figures.get("inner_jerk")
    ratio = "–" if not inner or seam is None else f"{seam / inner:.1f}×"
    return index, "–" if grasps is None else f"{grasps:.2f}", ratio


def _make_row(standing: Standing) -> tuple[str, float, float, float, str, int]:
    rate = standing.entry.main.pooled
    note = f"{100 * rate.rate:.0f} % · {rate.successes} of {rate.n}"
    return standing.entry.name, rate.rate, rate.low, rate.high, note, 0


def _show_verdicts(arena: Arena) -> str:
    """Every two runs: who is ahead by how much, or that nobody can say."""
    if not arena.comparisons:
        return ""
    names = [standing.entry.name for standing in arena.standings]
    found: dict[tuple[str, str], Cell] = {}
    for comparison in arena.comparisons:
        row = comparison.pooled
        for sign, names_of in ((1, (comparison.first, comparison.second)),
                               (-1, (comparison.second, comparison.first))):  # fmt: skip
            points = 100 * sign * row.pairs.difference
            low, high = sorted((100 * sign * row.pairs.low, 100 * sign * row.pairs.high))
            small = f"{low:+.0f} to {high:+.0f}, p {row.adjusted_p:.2g}"
            shade = min(1.0, max(0.0, 0.5 + points / 100)) if row.winner else 0.5
            found[names_of] = (shade, f"{points:+.1f}", small, row.winner is not None)
    rows = {name: [found.get((name, other)) for other in names] for name in names}
    sentences = "".join(f"<li>{escape(c.sentence)}</li>" for c in arena.comparisons)
    note = (
        "Points by which the run of the row is ahead of the run of the column on the scenes both "
        "have run, Newcombe's interval, exact McNemar p after Holm's correction over all pairs of "
        "runs. Bold: beyond chance. Not the luck of one training run."
    )
    body = draw_heat_map(rows, names)
    body += f'<details><summary>In words</summary><ul class="small">{sentences}</ul></details>'
    return make_section("Every two runs", body, note)


def _show_tasks(arena: Arena) -> str:
    tasks = list(arena.standings[0].entry.main.tasks)
    rows = {
        standing.entry.name: [_make_cell(standing.entry.main.tasks.get(task)) for task in tasks]
        for standing in arena.standings
    }
    return make_section("Success by task", draw_heat_map(rows, tasks), "With 95 % Wilson interval.")


def _make_cell(rate: Rate | None) -> Cell | None:
    if rate is None:
        return None
    small = f"[{100 * rate.low:.0f}–{100 * rate.high:.0f}], n {rate.n}"
    return rate.rate, f"{100 * rate.rate:.0f} %", small, False


def _show_axes(arena: Arena) -> str:
    entries = [standing.entry for standing in arena.standings if standing.entry.axes]
    axes = list(dict.fromkeys(axis for entry in entries for axis in entry.axes))
    if not axes:
        return ""
    rows = {
        entry.name: [
            None if (rate := entry.axes.get(axis)) is None
            else (rate, f"{100 * rate:.0f} %", "", False)
            for axis in axes
        ]
        for entry in entries
    }  # fmt: skip
    words = [axis.replace("_", " ") for axis in axes]
    body = draw_heat_map(rows, words)
    shown = {e.name: [e.axes.get(axis, 0.0) for axis in axes] for e in entries[:RADAR_RUNS]}
    if len(axes) > 2:
        body += draw_legend(list(shown)) + draw_radar(shown, words)
    note = (
        "Mean success over the levels of each axis that were run; a level that only some runs "
        "have makes their means incomparable. Intervals and paired tests are in each run's "
        "report."
    )
    return make_section("Perturbed scenes", body, note)


def draw_radar(series: Mapping[str, Sequence[float]], spokes: Sequence[str]) -> str:
    """Closed outlines of values in 0..1, one spoke per name; "" for fewer than three spokes."""
    count = len(spokes)
    if count < 3:
        return ""

    def place(index: int, radius: float) -> tuple[float, float]:
        angle = 2 * pi * index / count - pi / 2
        return 100 * radius * cos(angle), 100 * radius * sin(angle)

    def outline(radii: Sequence[float]) -> str:
        points = (place(index, radius) for index, radius in enumerate(radii))
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"

    grid = "".join(f'<path class="grid" d="{outline([r] * count)}"/>' for r in (0.25, 0.5, 0.75, 1))
    texts = ""
    for index, name in enumerate(spokes):
        x, y = place(index, 1.1)
        anchor = "middle" if abs(x) < 20 else "start" if x > 0 else "end"
        texts += f'<text x="{x:.1f}" y="{y + 3:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
    lines = "".join(
        f'<path class="c{number % COLOURS}" d="{outline(values)}"/>'
        for number, values in enumerate(series.values())
    )
    return f'<svg class="radar" viewBox="-190 -125 380 250" role="img">{grid}{lines}{texts}</svg>'


def _show_failures(arena: Arena) -> str:
    counts = {s.entry.name: count_failures(s.entry.main.episodes) for s in arena.standings}
    kinds = list(dict.fromkeys(kind for by in counts.values() for kind in by))
    if not kinds:
        return ""
    sizes = {s.entry.name: s.entry.main.pooled.n for s in arena.standings}
    rows: dict[str, list[Cell | None]] = {
        name: [
            (1.0 - by[kind] / sizes[name], str(by[kind]), f"{100 * by[kind] / sizes[name]:.0f} %",
             False) if kind in by else None
            for kind in kinds
        ]
        for name, by in counts.items()
    }  # fmt: skip
    note = "Episodes by how they failed; films of each kind are in the runs' reports."
    return make_section("Failures by kind", draw_heat_map(rows, kinds), note)
