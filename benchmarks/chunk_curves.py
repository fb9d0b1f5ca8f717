"""What `benchmarks.chunk_execution` makes of its episodes: rates, paired tests, curves."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from vla.evaluation import charts
from vla.evaluation.statistics import compare_paired, wilson_interval

REFERENCE = "newest"
GROUPS = (  # a chart has four colours
    (REFERENCE, "sync", "crossfade", "bidirectional"),
    (REFERENCE, "ensemble", "adaptive"),
    (REFERENCE, "rtc", "rtc_trained"),
)
Key = tuple[str, str, float, str, int]  # weights, method, latency in ms, task, seed


def summarise(episodes: dict[Key, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per method and latency, each compared with the naive method on the same scenes."""
    cells: dict[tuple[str, float], dict[tuple, dict[str, Any]]] = {}
    for (weights, method, latency, task, seed), result in episodes.items():
        cells.setdefault((method, latency), {})[weights, task, seed] = result
    rows = []
    for (method, latency), results in cells.items():
        values = list(results.values())
        total = {name: sum(v[name] for v in values) for name in values[0]}
        low, high = wilson_interval(total["success"], len(values))
        row = {
            "method": method,
            "latency_ms": latency,
            "n": len(values),
            "successes": total["success"],
            "rate": round(total["success"] / len(values), 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "steps": round(total["steps"] / len(values), 1),
            "held_share": round(total["held"] / total["steps"], 4),
            "plans": round(total["plans"] / len(values), 1),
            "seam_jump": round(total["jump_sum"] / max(total["seams"], 1), 4),
            "inside_jump": round(total["inside_sum"] / max(total["inside"], 1), 4),
        }
        reference = cells.get((REFERENCE, latency))
        if reference is not None and method != REFERENCE:
            verdict = compare_paired(
                {key: value["success"] for key, value in results.items()},
                {key: value["success"] for key, value in reference.items()},
            )
            row["against_newest"] = {
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in asdict(verdict).items()
            }
        rows.append(row)
    return rows


def draw(rows: list[dict[str, Any]]) -> str:
    """A page with the curves of success and of the jump at seams."""
    parts = []
    for name, title in (("rate", "Success"), ("seam_jump", "Jump at seams, half ranges")):
        for group in GROUPS:
            curves: dict[str, tuple[list[float], list[float]]] = {}
            for row in sorted(rows, key=lambda row: row["latency_ms"]):
                if row["method"] in group:
                    x, y = curves.setdefault(row["method"], ([], []))
                    x.append(row["latency_ms"])
                    y.append(row[name])
            parts.append(charts.draw_lines(title, curves, unit="ms"))
    style = (Path(charts.__file__).parent / "report.css").read_text()
    body = "\n".join(f"<section>{part}</section>" for part in parts)
    return (
        '<!doctype html><meta charset="utf-8"><title>Chunk execution</title>'
        f"<style>{style}</style><h1>Chunk execution against latency</h1>{body}\n"
    )


def tabulate(rows: list[dict[str, Any]]) -> Table:
    """What is printed."""
    table = Table(title="success against latency")
    for head in (
        "method",
        "ms",
        "success",
        "95 %",
        "p (newest)",
        "steps",
        "held",
        "seam",
        "inside",
    ):
        table.add_column(head)
    for row in rows:
        paired = row.get("against_newest")
        table.add_row(
            row["method"], f"{row['latency_ms']:.0f}", f"{row['successes']}/{row['n']}",
            f"{row['low']:.2f} to {row['high']:.2f}",
            f"{paired['p_value']:.3f}" if paired else "",
            f"{row['steps']:.0f}", f"{row['held_share']:.2f}",
            f"{row['seam_jump']:.3f}", f"{row['inside_jump']:.3f}",
        )  # fmt: skip
    return table
