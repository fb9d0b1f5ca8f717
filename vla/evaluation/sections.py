"""The parts of a report, each from plain values to HTML; "" when there is nothing to show."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from vla.evaluation.charts import (
    draw_histogram,
    draw_intervals,
    draw_legend,
    draw_lines,
    format_number,
)
from vla.evaluation.comparison import RunComparison
from vla.evaluation.conditions import compare_conditions
from vla.evaluation.result import Evaluation, Rate
from vla.runtime.record import read_flight

TELLING = ("loss", "ground", "error", "accuracy", "success", "distance")


def show_success(evaluation: Evaluation, chance: float | None) -> str:
    """Rate and interval of every task, and of all together."""
    rows = [_make_row(name, rate, 0) for name, rate in evaluation.tasks.items()]
    if len(rows) > 1:
        rows.append(_make_row("all tasks", evaluation.pooled, 0))
    legend = draw_legend([], "chance") if chance is not None else ""
    return make_section("Success by task", legend + draw_intervals(rows, chance))


def show_conditions(
    evaluations: Mapping[str, Evaluation], reference: str, chance: float | None
) -> str:
    """Every condition's rates, and what leaving `reference` costs on the same episodes."""
    if len(evaluations) < 2 or reference not in evaluations:
        return ""
    names = [reference, *(name for name in evaluations if name != reference)]
    rows = []
    tasks = list(evaluations[reference].tasks)
    for task in [*tasks, "all tasks"] if len(tasks) > 1 else tasks:
        for number, name in enumerate(names):
            result = evaluations[name]
            rate = result.pooled if task == "all tasks" else result.tasks.get(task)
            if rate is not None:
                rows.append(_make_row("" if number else task, rate, number))
    table, unlike = [], 0
    for name, effect in compare_conditions(evaluations, reference).items():
        pairs = effect.pairs
        unlike += effect.unlike
        use = "–" if effect.language_use is None else f"{effect.language_use:.2f}"
        interval = f"{100 * pairs.low:+.0f} to {100 * pairs.high:+.0f}"
        split = f"{pairs.only_first} : {pairs.only_second}"
        points = f"{100 * pairs.difference:+.0f} ({interval})"
        shown = _format_p(pairs.p_value)
        table.append([f"{reference} – {name}", str(pairs.n), points, split, shown, use])
    head = ["pair", "n", "difference, points", "won alone", "p", "language use"]
    note = (
        "Same scenes and seeds; only the words differ. Difference with Newcombe's 95 % interval "
        "for pairs; p from the exact McNemar test; “won alone”: episodes that only one of the two "
        "solved; language use: the share of the success that is lost without the right words "
        "(1: needs them, 0: ignores them)."
    )
    if unlike:
        note += f" {unlike} pairs do not begin with equal pictures: their scenes may differ."
    body = draw_legend(names, "chance" if chance is not None else "")
    body += draw_intervals(rows, chance) + make_table(head, table, numbers=range(1, 6))
    return make_section("Does it listen? Instruction conditions", body, note)


def show_comparison(comparison: RunComparison) -> str:
    """Two runs on the scenes they share: the verdict, both rates, the tests."""
    names, chart, table = (comparison.first, comparison.second), [], []
    for row in comparison.rows:
        pairs = row.pairs
        chart += [_make_row(row.task, row.first, 0), _make_row("", row.second, 1)]
        bounds = [(pairs.low, pairs.high), row.bootstrap]
        texts = ["–" if b is None else f"{100 * b[0]:+.1f} to {100 * b[1]:+.1f}" for b in bounds]
        tests = map(_format_p, (pairs.p_value, row.adjusted_p, row.anytime_p))
        split = f"{pairs.only_first} : {pairs.only_second}"
        difference = f"{100 * pairs.difference:+.1f}"
        winner = getattr(comparison, row.winner) if row.winner else "none"
        table.append([row.task, str(pairs.n), difference, *texts, split, *tests, winner])
    head = ["", "n", "points", "Newcombe", "bootstrap", "won alone", "p", "adjusted p"]
    body = f"<p>{escape(comparison.sentence)}</p>{draw_legend(names)}{draw_intervals(chart)}"
    body += make_table([*head, "anytime p", "winner"], table, numbers=range(1, 9))
    note = (
        f"Same scenes and seeds. Intervals of {100 * (1 - comparison.alpha):g} %, those of single "
        "rates Wilson's of 95 %; p from the exact McNemar test, adjusted after Holm; anytime p "
        "holds also for who adds episodes and looks again. Not the luck of one training run. "
        f"Setups differ in: {', '.join(comparison.differing) or 'nothing'}."
    )
    return make_section(f"{names[0]} against {names[1]}", body, note)


def show_training(metrics: Path | None) -> str:
    """Curves of a JSON-lines file {"step": ..., "train/loss": ...}, one chart per last name."""
    if metrics is None or not metrics.exists():
        return ""
    charts: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for line in metrics.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        step = values.pop("step")
        for key, value in values.items():
            if isinstance(value, int | float):
                x, y = charts.setdefault(key.rpartition("/")[2], {}).setdefault(key, ([], []))
                x.append(step)
                y.append(value)
    drawn = {name: draw_lines(name.replace("_", " "), series) for name, series in charts.items()}
    first = [html for name, html in drawn.items() if any(word in name for word in TELLING)]
    others = [html for name, html in drawn.items() if not any(word in name for word in TELLING)]
    body = f'<div class="figures">{"".join(first)}</div>' if first else ""
    if others:
        body += (
            "<details><summary>More curves</summary>"
            f'<div class="figures">{"".join(others)}</div></details>'
        )
    return make_section("Training", body)


def show_open_loop(name: str, result: Mapping[str, Any]) -> str:
    """Held-out error per axis beside the baselines (see `open_loop.measure_open_loop`)."""
    tables = {}
    for measure in ("l1_row_0", "l1_chunk", "rmse_row_0", "rmse_chunk"):
        predictors = list(result["errors"])
        rows = []
        for index, axis in enumerate(result["axes"]):
            cells = [result["errors"][name][measure] for name in predictors]
            values = [cell["value"][index] for cell in cells]
            shown = [
                f"{format_number(value)} ({format_number(cell['low'][index])}"
                f"–{format_number(cell['high'][index])})"
                for value, cell in zip(values, cells, strict=True)
            ]
            rows.append([axis["name"], axis["unit"], *shown, values.index(min(values)) + 2])
        head = ["axis", "unit", *(name.replace("_", " ") for name in predictors)]
        tables[measure] = make_table(head, rows, numbers=range(2, len(head)), best=True)
    horizon = result["horizon"]
    body = (
        f"<h3>Mean absolute error, next action</h3>{tables['l1_row_0']}"
        f"<h3>Mean absolute error, whole plan ({horizon} rows)</h3>{tables['l1_chunk']}"
        "<details><summary>Root mean square errors</summary>"
        f"<h3>Next action</h3>{tables['rmse_row_0']}<h3>Whole plan</h3>{tables['rmse_chunk']}"
        "</details>"
    )
    note = (
        f"{result['episodes']} held-out episodes, {result['windows']} plans; in brackets: "
        f"{result['interval']}. The smallest error of a row is marked. “Previous action” repeats "
        "the demonstrator's last one, which the policy does not know; “hold position” stays where "
        "the state is. A small error here does not "
        "promise success, and success does not need a small one."
    )
    return make_section(f"Open-loop error on held-out demonstrations of {name}", body, note)


def show_live(summary: Mapping[str, Any] | None, flight: Path | None = None) -> str:
    """A live run: scalars as a table; lists, {"edges", "counts"} and `flight` as histograms."""
    rows, charts = [], []
    if flight is not None and flight.exists():
        lateness = read_flight(flight).ticks["lateness"] * 1e3
        charts.append(_draw_samples("lateness of ticks", lateness.tolist(), "ms"))
    for key, value in _flatten(summary or {}):
        name, unit = _split_unit(key)
        if isinstance(value, Mapping):
            charts.append(draw_histogram(name, value["edges"], value["counts"], unit))
        elif isinstance(value, list):
            charts.append(_draw_samples(name, value, unit))
        else:
            text = f"{value:.5g}" if isinstance(value, float) else str(value)
            rows.append([name, f"{text} {unit}".strip()])
    figures = f'<div class="figures">{"".join(charts)}</div>' if charts else ""
    table = make_table(["", ""], rows) if rows else ""
    return make_section("Live control loop", figures + table)


def show_times(timings: Mapping[str, float] | None) -> str:
    """Seconds per stage."""
    rows = [[name, _format_seconds(seconds)] for name, seconds in (timings or {}).items()]
    return make_section("Time per stage", make_table(["stage", "time"], rows)) if rows else ""


def show_provenance(values: Mapping[str, Any] | None) -> str:
    """Everything that tells where the numbers come from, nested keys joined by dots."""
    rows = [[key, str(value)] for key, value in _flatten(values or {})]
    return make_section("Provenance", make_table(["", ""], rows)) if rows else ""


def make_section(title: str, body: str, note: str = "") -> str:
    """A titled box around `body` (HTML), a small note below it (text); "" without a body."""
    if not body:
        return ""
    small = f'<p class="small">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{body}{small}</section>"


def _make_row(label: str, rate: Rate, colour: int) -> tuple[str, float, float, float, str, int]:
    note = f"{100 * rate.rate:.0f} % · {rate.successes} of {rate.n}"
    return label, rate.rate, rate.low, rate.high, note, colour


def make_table(
    head: list[str], rows: list[list[Any]], *, numbers: Iterable[int] = (), best: bool = False
) -> str:
    """Escaped cells; columns in `numbers` are right-aligned; with `best`, each row's last
    entry is the column to mark.
    """
    numbers = set(numbers)

    def show(tag: str, column: int, text: str, marked: bool = False) -> str:
        kind = "number" if column in numbers else "value"
        return f'<{tag} class="{kind}{" best" if marked else ""}">{escape(text)}</{tag}>'

    body = ""
    for row in rows:
        mark = row[-1] if best else -1
        cells = row[:-1] if best else row
        shown = (show("td", i, text, marked=i == mark) for i, text in enumerate(cells))
        body += f"<tr>{''.join(shown)}</tr>"
    top = "".join(show("th", i, text) for i, text in enumerate(head)) if any(head) else ""
    return f'<div class="scroll"><table>{f"<tr>{top}</tr>" if top else ""}{body}</table></div>'


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves by dotted key; histograms and lists of numbers count as leaves."""
    for key, value in values.items():
        if isinstance(value, Mapping) and set(value) != {"edges", "counts"}:
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and not all(type(v) in (int, float) for v in value):
            yield f"{prefix}{key}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{key}", value


def _split_unit(key: str) -> tuple[str, str]:
    """("lateness p99", "ms") from "lateness_ms.p99"; a key without a unit keeps its name."""
    words = key.replace("_", " ").replace(".", " ").split()
    for unit in ("ms", "us", "s", "hz"):
        if unit in words[1:]:
            words.remove(unit)
            return " ".join(words), "Hz" if unit == "hz" else unit
    return " ".join(words), ""


def _draw_samples(name: str, samples: list[float], unit: str) -> str:
    import numpy as np

    if not samples:
        return ""
    counts, edges = np.histogram(samples, bins=40)
    return draw_histogram(name, edges.tolist(), counts.tolist(), unit)


def _format_p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _format_seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
