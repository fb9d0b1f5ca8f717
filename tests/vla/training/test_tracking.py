import io
import json
import time

import pytest
from rich.console import Console

from vla.training.progress import Progress
from vla.training.tracking import JsonlTracker, Trackers, WandbTracker


def test_resumed_curve_has_no_duplicates_and_no_torn_line(tmp_path):
    path = tmp_path / "run/metrics.jsonl"
    tracker = JsonlTracker(path)
    for step in range(1, 6):
        tracker.log({"loss": step / 2}, step=step)
    tracker.close()
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    tracker = JsonlTracker(path, start=3)
    tracker.log({"loss": float("inf")}, step=4)
    tracker.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[2]["loss"] == 1.5
    assert lines[3]["loss"] is None


def test_lines_reach_the_file_at_once(tmp_path):
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    tracker.log({"loss": 1.0}, step=1)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 1.0}
    tracker.close()


def test_without_a_terminal_there_are_few_plain_lines():
    out = io.StringIO()
    progress = Progress(1000, start=100, console=Console(file=out, width=60))
    for step in range(101, 1001):
        progress.log({"train/loss": 1 / step, "learning_rate": 1e-4}, step=step)
        if step == 500:
            progress.log({"validation/loss": 0.25}, step=step)
    progress.close()
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["101/1000", "500/1000", "1000/1000"]
    assert "held-out 0.25" in lines[1]
    assert "ETA 0:00:00" in lines[2]
    assert "\x1b" not in out.getvalue()


def test_terminal_shows_one_live_bar():
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, force_interactive=True)
    progress = Progress(10, console=console)
    progress.log({"train/loss": 0.125, "gradient_norm": 2.0}, step=10)
    progress.close()
    assert "10/10" in out.getvalue()
    assert "loss 0.125" in out.getvalue()


def test_several_trackers_act_as_one(tmp_path):
    both = Trackers([JsonlTracker(tmp_path / "a"), JsonlTracker(tmp_path / "b")])
    both.log({"x": 1.0}, step=1)
    both.close()
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() != ""


@pytest.mark.slow
def test_wandb_writes_a_real_offline_run(tmp_path):
    tracker = WandbTracker(tmp_path / "run", config={"a": 1}, mode="offline", project="vla")
    tracker.log({"train/loss": 0.123456}, step=7)
    tracker.close()
    (record,) = (tmp_path / "run/wandb").glob("offline-run-*/run-*.wandb")
    for _ in range(300):  # W&B's own process writes on after `close`.
        content = record.read_bytes()
        if b"train/loss" in content:
            break
        time.sleep(0.1)
    assert b"train/loss" in content
    assert b"0.123456" in content
    assert (tmp_path / "run/wandb_id").read_text().encode() in content
