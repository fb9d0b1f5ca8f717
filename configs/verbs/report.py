"""`vla report`: what finished runs wrote, on one page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from configs.schemas import ReportJob
from vla.errors import DataError
from vla.evaluation.report import write_report
from vla.evaluation.result import Evaluation
from vla.runtime.record import read_flight


def main(job: ReportJob) -> None:
    """Find the newest training, evaluation and live results below `runs`; write the page."""
    root = Path(job.runs)
    training = find_newest(root, "metrics.jsonl")
    open_loop = find_newest(root, "open_loop.json")
    live = find_flights(root)
    journal = find_newest(root, "journal.json")
    conditions = sorted(path.parent for path in root.rglob("result.json"))
    if not any((training, open_loop, live, conditions)):
        raise DataError(
            f"No finished run below {root}. `vla train`, `vla eval` and `vla run` write there "
            "when called with output=FOLDER."
        )
    page = write_report(
        job.output or root / "report.html",
        title=job.title,
        evaluations={path.name: Evaluation.load(path) for path in conditions},
        metrics=training,
        open_loop=read(open_loop),
        live=live,
        timings={stage: entry["seconds"] for stage, entry in (read(journal) or {}).items()},
    )
    Console().print(f"Report: {page}")


def find_newest(root: Path, name: str) -> Path | None:
    """The most recently written file of that name."""
    return max(root.rglob(name), key=lambda path: path.stat().st_mtime, default=None)


def find_flights(root: Path) -> dict[str, Any] | None:
    """Figures of the newest live run, with every tick's lateness for the histogram."""
    newest = max(root.rglob("flight-*.vlalog"), key=lambda p: p.stat().st_mtime, default=None)
    if newest is None or not (newest.parent / "summary.json").exists():
        return None
    figures = read(newest.parent / "summary.json")
    logs = [read_flight(newest.parent / name) for name in figures["logs"]]
    late = np.concatenate([log.ticks["lateness"] for log in logs]) * 1e3
    shown = ("n", "successes", "seconds", "rate_hz", "missed", "refused")
    return {
        **{key: figures[key] for key in shown},
        "lateness_p99_ms": figures["lateness_ms"]["p99"],
        "lateness_ms": late.round(4).tolist(),
    }


def read(path: Path | None) -> Any:
    """JSON of a file, None without one."""
    return json.loads(path.read_text()) if path else None
