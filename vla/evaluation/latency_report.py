"""How long plans take, as JSON, Markdown and HTML.

A row is one variant: see `ROW`; variants run as they are have `phases` for batch 1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla.evaluation.report import write_page
from vla.evaluation.sections import make_section, make_table, show_provenance
from vla.files import write_bytes, write_json

ROW = (
    "policy", "parameters", "dtype", "mode", "batch", "n", "p50_ms", "p99_ms", "per_s",
    "weights_mb", "peak_mb", "floor_ms", "error_max", "error_mean", "verdict",
)  # fmt: skip
"""Keys of a row. `floor_ms` is what the roofline allows, None where it was not counted;
`error_*` are against float32, eager, in the plan's units, None without that reference."""
HEADINGS = (
    "policy", "parameters", "format", "mode", "batch", "n", "p50 ms", "p99 ms", "plans/s",
    "weights MB", "peak MB", "roofline ms", "largest error", "target",
)  # fmt: skip
PHASE_HEADINGS = ("policy", "format", "phase", "ms", "GFLOP", "weights read MB", "roofline ms")
NOTE = (
    "A plan is one call of act, from pictures in the host's memory to bounded actions there. "
    "Phases are of plans that wait for the device at every boundary; their sum therefore exceeds "
    "the whole where host and device overlap. Roofline: per phase the larger of operations over "
    "the measured rate and weights read over the measured bandwidth. Largest error: against "
    "float32, eager, on the same inputs and noise, in the plan's units; with random weights, "
    "policies that write words may differ by whole words."
)


def write_latency(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, title: str, settings: Mapping[str, Any]
) -> None:
    """Write inference.json, inference.md and inference.html into `folder`."""
    write_json(folder / "inference.json", {"settings": dict(settings), "rows": list(rows)})
    write_bytes(folder / "inference.md", f"# {title}\n\n{to_markdown(rows)}\n{NOTE}\n".encode())
    page = [
        make_section("Plans", make_table(list(HEADINGS), [list(show(row)) for row in rows]), NOTE),
        make_section("Phases", make_table(list(PHASE_HEADINGS), show_phases(rows))),
        show_provenance(settings),
    ]
    write_page(folder / "inference.html", title, page)


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The variants, and below them the phases, as Markdown tables."""
    tables = [(HEADINGS, [show(row) for row in rows]), (PHASE_HEADINGS, show_phases(rows))]
    return "\n".join(
        "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *lines))
        for head, lines in tables
        if lines
    )


def show(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row as text, in the order of HEADINGS."""

    def maybe(key: str, form: str) -> str:
        return "–" if row[key] is None else format(row[key], form)

    return (
        row["policy"],
        f"{row['parameters'] / 1e6:,.1f} M",
        row["dtype"],
        row["mode"],
        str(row["batch"]),
        str(row["n"]),
        f"{row['p50_ms']:.2f}",
        f"{row['p99_ms']:.2f}",
        f"{row['per_s']:.1f}",
        f"{row['weights_mb']:,.0f}",
        f"{row['peak_mb']:,.0f}",
        maybe("floor_ms", ".2f"),
        maybe("error_max", ".2g"),
        row["verdict"],
    )


def show_phases(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The phases of the variants that have them, each followed by their sum."""
    lines = []
    for row in rows:
        phases = row.get("phases") or {}
        total = {
            key: sum(part[key] for part in phases.values())
            for key in ("ms", "gflop", "weights_mb", "floor_ms")
        }
        named = {**phases, f"sum; whole: {row['p50_ms']:.2f} ms": total} if phases else {}
        lines += [
            [
                row["policy"],
                row["dtype"],
                name,
                f"{part['ms']:.2f}",
                f"{part['gflop']:,.3f}",
                f"{part['weights_mb']:,.1f}",
                f"{part['floor_ms']:.3f}",
            ]
            for name, part in named.items()
        ]
    return lines
