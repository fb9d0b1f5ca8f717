"""One HTML file that shows what a policy can do, and how that is known."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from vla.evaluation import sections
from vla.evaluation.axes import show_axes, split_conditions
from vla.evaluation.comparison import RunComparison
from vla.evaluation.films import show_films
from vla.evaluation.result import Evaluation
from vla.files import write_bytes


def write_report(
    path: str | Path,
    *,
    title: str,
    evaluations: Mapping[str, Evaluation] | None = None,
    reference: str = "given",
    chance: float | None = None,
    comparisons: Sequence[RunComparison] = (),
    metrics: str | Path | None = None,
    open_loop: Mapping[str, Any] | None = None,
    live: Mapping[str, Any] | None = None,
    flight: str | Path | None = None,
    timings: Mapping[str, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained page: no script, nothing loaded from elsewhere, all text escaped.

    What is not given is left out.

    Args:
        path: of the page; replaced atomically.
        title: heading.
        evaluations: by condition, of words or of a scene ("AXIS:LEVEL"); a single one may
            have any name.
        reference: the condition whose rates, films and setup are shown; the first one when it is
            not among them.
        chance: success rate in 0..1 of guessing, drawn as a line.
        comparisons: runs against each other, what `compare_runs` returns.
        metrics: JSON-lines file of a training run.
        open_loop: per store's name, what `measure_open_loop` returns.
        live: summary of a live run; {"edges", "counts"} and lists of samples become histograms,
            units are read off the keys ("lateness_ms").
        flight: log of that run, for the histogram of its lateness.
        timings: seconds by stage.
        provenance: added to that of the reference evaluation.

    Returns:
        `path`.
    """
    path = Path(path)
    evaluations = dict(evaluations or {})
    if evaluations and reference not in evaluations:
        reference = next(iter(evaluations))
    main = evaluations.get(reference)
    parts = []
    if main is not None:
        parts += [
            _show_tiles(main),
            sections.show_success(main, chance),
            sections.show_conditions(split_conditions(evaluations)[0], reference, chance),
            show_axes(evaluations, reference),
            show_films(main),
        ]
    parts += [
        *map(sections.show_comparison, comparisons),
        *(sections.show_open_loop(name, result) for name, result in (open_loop or {}).items()),
        sections.show_training(Path(metrics) if metrics is not None else None),
        sections.show_live(live, Path(flight) if flight is not None else None),
        sections.show_times(timings),
        sections.show_provenance({**_collect_provenance(main), **(provenance or {})}),
        _show_small_print(main),
    ]
    return write_page(path, title, parts)


def write_page(path: Path, title: str, parts: Sequence[str]) -> Path:
    """The page around sections of HTML, written atomically; `path`."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1><div class="soft">{made}</div></header>\n'
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )
    write_bytes(path, page.encode())
    return path


def _show_tiles(evaluation: Evaluation) -> str:
    pooled = evaluation.pooled
    steps = sum(episode.steps for episode in evaluation.episodes)
    tiles = {
        f"success, {_count_tasks(evaluation)}": f"{100 * pooled.rate:.0f} %",
        "95 % interval": f"{100 * pooled.low:.0f}–{100 * pooled.high:.0f} %",
        "episodes": f"{pooled.n:,}",
        "control steps": f"{steps:,}",
    }
    cells = "".join(
        f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in tiles.items()
    )
    return f'<div class="tiles">{cells}</div>'


def _count_tasks(evaluation: Evaluation) -> str:
    count = len(evaluation.tasks)
    return f"{count} task{'s' if count > 1 else ''}"


def _collect_provenance(evaluation: Evaluation | None) -> dict[str, Any]:
    if evaluation is None:
        return {}
    setup = dict(evaluation.setup)
    mine = setup.pop("provenance", {})
    return {**mine, **setup, "host": evaluation.host, "evaluation": evaluation.timing}


def _show_small_print(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return ""
    seeds = sorted({episode.seed for episode in evaluation.episodes})
    late = sum(not e.success and e.reason == "out of steps" for e in evaluation.episodes)
    failures = evaluation.pooled.n - evaluation.pooled.successes
    limit = evaluation.setup.get("max_steps") or "none"
    sentences = [
        f"{evaluation.pooled.n} episodes: {_count_tasks(evaluation)} on the same "
        f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}.",
        "Each episode was run once; none was repeated, dropped or chosen afterwards.",
        f"Step limit: {limit}; {late} of {failures} failures reached it.",
        "Bars and brackets are 95 % Wilson score intervals. They cover the draw of scenes, "
        "not the luck of one training run: another training seed may lie outside.",
        "The interval over all tasks speaks for this mixture of tasks only.",
    ]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<section><h2>Small print</h2><ul class="small">{items}</ul></section>'
