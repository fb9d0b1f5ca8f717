"""Several policies in one table: what they cost and what they reach, as JSON, Markdown, HTML.

A result is one training run, tried: see `ROW`. Runs of a preset that differ in their seed alone
are pooled into one line; the interval is then over scenes, not over trainings, so the rate of
each seed is shown beside it.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vla.evaluation.statistics import wilson_interval
from vla.files import write_bytes, write_json

ROW = (
    "preset", "seed", "parameters", "steps", "train_seconds", "samples_per_s",
    "latency_ms", "tasks", "successes", "n",
)  # fmt: skip
"""Keys of a result; `latency_ms` has p50 and p99, `tasks` successes and n by task."""
HEADINGS = (
    "policy", "parameters", "steps", "samples/s", "plan p50 ms", "plan p99 ms",
    "success [95 % Wilson]", "n", "by seed",
)  # fmt: skip


def pool(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per preset, best success first; see the module's docstring.

    Args:
        results: with the keys ROW.
    """
    lines = []
    for preset in dict.fromkeys(result["preset"] for result in results):
        runs = [result for result in results if result["preset"] == preset]
        successes, n = (sum(run[key] for run in runs) for key in ("successes", "n"))
        low, high = wilson_interval(successes, n)
        lines.append(
            {
                "preset": preset,
                "parameters": runs[0]["parameters"],
                "steps": round(sum(run["steps"] for run in runs) / len(runs)),
                "samples_per_s": sum(run["samples_per_s"] for run in runs) / len(runs),
                "p50_ms": max(run["latency_ms"]["p50"] for run in runs),
                "p99_ms": max(run["latency_ms"]["p99"] for run in runs),
                "successes": successes,
                "n": n,
                "rate": successes / max(n, 1),
                "low": low,
                "high": high,
                "by_seed": {str(run["seed"]): run["successes"] / max(run["n"], 1) for run in runs},
            }
        )
    return sorted(lines, key=lambda line: -line["rate"])


def write_league(
    folder: Path, results: Sequence[Mapping[str, Any]], *, title: str, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Write league.json, league.md and league.html into `folder`; returns the pooled lines."""
    lines = pool(results)
    write_json(
        folder / "league.json",
        {"settings": dict(settings), "lines": lines, "results": list(results)},
    )
    write_bytes(folder / "league.md", f"# {title}\n\n{to_markdown(lines)}".encode())
    write_bytes(folder / "league.html", to_html(lines, title, settings).encode())
    return lines


def to_markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """The pooled lines as a Markdown table."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(show, lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def to_html(lines: Sequence[Mapping[str, Any]], title: str, settings: Mapping[str, Any]) -> str:
    """A self-contained page."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in show(line))}</tr>" for line in lines
    )
    made = "".join(f"<li>{escape(f'{key}: {value}')}</li>" for key, value in settings.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{style}</style><main><h1>{escape(title)}</h1>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<h2>How it was made</h2><ul>{made}</ul></main></html>\n"
    )


def show(line: Mapping[str, Any]) -> tuple[str, ...]:
    """A pooled line as text, in the order of HEADINGS."""
    return (
        line["preset"],
        f"{line['parameters'] / 1e6:.2f} M",
        str(line["steps"]),
        f"{line['samples_per_s']:.0f}",
        f"{line['p50_ms']:.1f}",
        f"{line['p99_ms']:.1f}",
        f"{line['rate']:.2f} [{line['low']:.2f}, {line['high']:.2f}]",
        str(line["n"]),
        ", ".join(f"{rate:.2f}" for rate in line["by_seed"].values()),
    )
