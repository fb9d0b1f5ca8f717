"""`vla report`: what finished runs wrote, on one page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from configs.jobs import ReportJob
from vla.errors import DataError
from vla.evaluation.report import write_report
from vla.evaluation.result import Evaluation
from vla.runtime.record import read_flight
from vla.runtime.states import STATES


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
    ticks = {
        name: np.concatenate([log.ticks[name] for log in logs]).astype(np.float64) * 1e3
        for name in ("lateness", "age", "plan_age", "io_time")
    }
    shown = ("n", "successes", "seconds", "rate_hz", "missed", "refused")
    flights = figures["flights"]
    waited = bool(np.nanmax(ticks["plan_age"], initial=0.0) > 0)
    return {
        **{key: figures[key] for key in shown},
        "lateness_p99_ms": figures["lateness_ms"]["p99"],
        "seam_jump": max((f["seam_jump"] for f in flights), default=0.0),
        "inner_jump": max((f["inner_jump"] for f in flights), default=0.0),
        "scheduling": ", ".join(sorted({f["scheduler"] for f in flights})),
        "states_ticks": ", ".join(f"{k} {sum(f['states'].get(k, 0) for f in flights)}"
                                  for k in STATES),
        "state_changes": "; ".join(
            "flight {n}: {at:.2f} s {from} to {to} {cause}".format(n=n, **change).strip()
            for n, flight in enumerate(flights) for change in flight["changes"][:20]
        ) or "none",
        "lateness_ms": ticks["lateness"].round(4).tolist(),
        "observation_age_ms": ticks["age"].round(3).tolist(),
        "driver_ms": ticks["io_time"].round(4).tolist(),
        **({"plan_age_ms": ticks["plan_age"][np.isfinite(ticks["plan_age"])].round(3).tolist()}
           if waited else {}),
    }  # fmt: skip


def read(path: Path | None) -> Any:
    """JSON of a file, None without one."""
    return json.loads(path.read_text()) if path else None
