"""What a person sees while a run goes on."""

import time
from collections.abc import Mapping
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY_S = 10.0
SHOWN = {
    "train/loss": "loss {:.4g}",
    "validation/loss": "held-out {:.4g}",
    "learning_rate": "lr {:.1e}",
    "gradient_norm": "|g| {:.2g}",
    "samples_per_second": "{:.0f} samples/s",
}


class Progress:
    """A live bar on a terminal; elsewhere a plain line now and then. A Tracker.

    Args:
        steps: of the whole run.
        start: the step resumed from.
        console: standard error by default, so that standard output stays clean.
    """

    def __init__(self, steps: int, *, start: int = 0, console: Console | None = None):
        self._steps = steps
        self._console = console or Console(stderr=True, highlight=False)
        self._latest: dict[str, float] = {}
        self._began = (time.monotonic(), start)
        self._spoke = float("-inf")
        self._bar = None
        if self._console.is_terminal:
            self._bar = Bar(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[numbers]}"),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
                # Metrics, and with them speed samples, can be minutes apart.
                speed_estimate_period=600,
            )
            self._task = self._bar.add_task("", total=steps, completed=start, numbers="")
            self._bar.start()

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Show the newest value of each metric in SHOWN."""
        self._latest.update(metrics)
        shown = [text.format(self._latest[name]) for name, text in SHOWN.items()
                 if name in self._latest]  # fmt: skip
        if self._bar is not None:
            self._bar.update(self._task, completed=step, numbers="  ".join(shown))
            return
        now = time.monotonic()
        quiet = now - self._spoke < LINE_EVERY_S
        if quiet and step < self._steps and "validation/loss" not in metrics:
            return
        self._spoke = now
        began, start = self._began
        left = (now - began) / max(step - start, 1) * (self._steps - step)
        line = "  ".join([f"step {step}/{self._steps}", *shown, f"ETA {timedelta(0, round(left))}"])
        self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state standing."""
        if self._bar is not None:
            self._bar.stop()
