"""`vla demo`: the whole loop, composed of the public verbs and nothing else.

Each stage is one `vla` command line, printed before it runs, so that what the demo
does can be repeated, changed and understood stage by stage. A stage that finished
with the same command line is not run again.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from configs.jobs import DemoJob
from vla.errors import VlaError
from vla.files import write_json

STAGES = ("record", "train", "eval", "run", "report")


def main(job: DemoJob) -> None:
    """Run the stages in order and write `summary.json` beside the report."""
    output = Path(job.output)
    console = Console()
    done = read_journal(output)
    for number, stage in enumerate(STAGES, 1):
        command = stage_command(job, stage)
        console.rule(f"[bold]{number}/{len(STAGES)} {stage}", align="left")
        console.print(f"$ vla {shlex.join(command)}", style="dim", highlight=False, markup=False)
        if done.get(stage, {}).get("command") == command:
            console.print("done before; delete the folder to run it again")
            continue
        began = time.monotonic()
        run_stage(stage, command)
        seconds = time.monotonic() - began
        done = {**done, stage: {"command": command, "seconds": round(seconds, 1)}}
        write_json(output / "journal.json", done)
    summary = summarise(output, done)
    write_json(output / "summary.json", summary)
    show(console, summary, output)


def stage_command(job: DemoJob, stage: str) -> list[str]:
    """The words after `vla` for one stage: verb, where things lie, then the preset's overrides."""
    root = job.output
    places = {
        "record": [f"output={root}/demonstrations"],
        "train": [f"data.path={root}/demonstrations", f"output={root}/training", "resume=true"],
        "eval": [f"checkpoint={root}/training", f"output={root}/evaluation"],
        "run": [f"checkpoint={root}/training", f"output={root}/live"],
        "report": [f"runs={root}", f"output={root}/report.html"],
    }
    return [stage, *places[stage], *getattr(job, stage)]


def run_stage(stage: str, command: list[str]) -> None:
    """Run one verb in a process of its own. Raises VlaError when it fails."""
    status = subprocess.run([sys.executable, "-m", "vla.cli", *command], check=False).returncode
    if status:
        raise VlaError(
            f"Stage {stage!r} ended with status {status}; its message is above. "
            "Mend it and run the same command: finished stages are kept."
        )


def read_journal(output: Path) -> dict[str, dict]:
    """What earlier runs of the demo finished here."""
    path = output / "journal.json"
    return json.loads(path.read_text()) if path.exists() else {}


def summarise(output: Path, done: dict[str, dict]) -> dict:
    """Per-task successes with intervals, the conditions, the live loop, seconds per stage."""
    evaluation = json.loads((output / "evaluation" / "summary.json").read_text())
    live = json.loads((output / "live" / "summary.json").read_text())
    seconds = {stage: entry["seconds"] for stage, entry in done.items()}
    return {
        **evaluation,
        "live": live,
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "report": str(output / "report.html"),
    }


def show(console: Console, summary: dict, output: Path) -> None:
    """The figures a person wants first."""
    table = Table(title="demo", title_justify="left")
    for head in ("task", "success", "95 % interval", "n"):
        table.add_column(head)
    for name, rate in [*summary["tasks"].items(), ("all", summary["pooled"])]:
        bounds = f"{rate['low']:.2f} to {rate['high']:.2f}"
        table.add_row(name, f"{rate['rate']:.2f}", bounds, str(rate["n"]))
    console.print(table)
    for name, effect in summary["conditions"].items():
        console.print(f"{name}: {effect['sentence']}")
    live = summary["live"]
    console.print(
        f"live: {live['successes']} of {live['n']} episodes, {live['rate_hz']:.2f} Hz, "
        f"{live['missed']} slots missed, {live['refused']} commands refused"
    )
    minutes = summary["seconds"]["total"] / 60
    console.print(f"{minutes:.1f} minutes. Open {output / 'report.html'} in a browser.")
