"""Where the numbers of a run go: a file, Weights & Biases, the terminal, or several of them."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vla.training.config import TrainingConfig
from vla.training.progress import Progress


class Tracker(Protocol):
    """A receiver of metrics; steps only grow."""

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Take in the metrics of `step`."""
        ...

    def close(self) -> None:
        """Flush and close; called once, also when the run fails."""
        ...


class JsonlTracker:
    """One JSON object per line: {"step": 20, "train/loss": 0.5, ...}; flushed line by line.

    On opening, lines of steps after `start` are dropped, and with them a last line that a kill
    cut short, so that the curves of a resumed run have no duplicates. A value that is not
    finite becomes null, as JSON has no name for it.
    """

    def __init__(self, path: Path, *, start: int = 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _lines_until(path, start) if path.exists() else []
        draft = path.with_name(f"{path.name}.unfinished")
        draft.write_text("".join(kept))
        os.replace(draft, path)
        self._file = path.open("a")

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Append one line."""
        values = {name: v if math.isfinite(v) else None for name, v in metrics.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """The whole lines of the steps up to `step`."""
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("}\n")]
    return [line for line in whole if json.loads(line)["step"] <= step]


class WandbTracker:
    """Weights & Biases, by default offline, with all its files inside the run's folder.

    A resumed run keeps its id (in `wandb_id`), so that after `wandb sync` both parts are one
    curve. Offline, W&B cannot take back steps that were logged and then repeated; it keeps
    what came first.
    """

    def __init__(self, folder: Path, *, config: Mapping[str, Any], mode: str, project: str):
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        identity = folder / "wandb_id"
        if not identity.exists():
            identity.write_text(wandb.util.generate_id())
        self._run = wandb.init(
            project=project,
            name=folder.name,
            id=identity.read_text(),
            dir=folder,
            mode=mode,
            config=dict(config),
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Send the metrics as one point of the curve."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Hand all over to W&B's own process, which ends, at the latest, when ours does."""
        self._run.finish()


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]):
        self._trackers = trackers

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Pass on to each."""
        for tracker in self._trackers:
            tracker.log(metrics, step=step)

    def close(self) -> None:
        """Close each."""
        for tracker in self._trackers:
            tracker.close()


def open_trackers(
    config: TrainingConfig, folder: Path, *, start: int, settings: Mapping[str, Any]
) -> Trackers:
    """The progress display and the trackers that the configuration names.

    Args:
        config: names the trackers.
        folder: the run's.
        start: the step resumed from; 0 for a new run.
        settings: what to show as the run's configuration in W&B.
    """
    trackers: list[Tracker] = [Progress(config.steps, start=start)]
    if "jsonl" in config.trackers:
        trackers.append(JsonlTracker(folder / "metrics.jsonl", start=start))
    if "wandb" in config.trackers:
        mode, project = config.wandb_mode, config.wandb_project
        trackers.append(WandbTracker(folder, config=settings, mode=mode, project=project))
    return Trackers(trackers)
