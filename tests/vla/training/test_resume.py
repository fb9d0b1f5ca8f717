"""A run that is cut in pieces equals one that is not."""

import json
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.vla.training.toys import ToyLoader, ToyPolicy, run_resumed, toy_config, toy_train
from vla.errors import TrainingError
from vla.training.checkpoint import CheckpointFolder
from vla.training.stopping import StopRequest

FILES = ("weights", "training/raw", "training/optimizer")


def final_tensors(directory: Path) -> dict[str, torch.Tensor]:
    newest = CheckpointFolder(directory / "checkpoints").latest()
    assert newest is not None
    return {
        f"{file}:{name}": tensor
        for file in FILES
        for name, tensor in load_file(newest.path / f"{file}.safetensors").items()
    }


def assert_bit_equal(left: Path, right: Path) -> None:
    ours, theirs = final_tensors(left), final_tensors(right)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def curve(directory: Path) -> list[dict]:
    """The logged lines without the times, which differ from run to run."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "seconds" not in k and "second" not in k}
            for line in lines]  # fmt: skip


def launch(directory: Path, *, steps: int, pause: float) -> BaseProcess:
    """Train in a child; the fork server has imported torch once for all children."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.vla.training.toys"])
    process = context.Process(target=run_resumed, args=(directory, steps, pause))
    process.start()
    return process


def wait_for_step(directory: Path, step: int, process: BaseProcess) -> None:
    metrics = directory / "metrics.jsonl"
    for _ in range(6000):
        if metrics.exists() and f'"step": {step},' in metrics.read_text():
            return
        assert process.exitcode is None, (directory / "stderr.txt").read_text()
        time.sleep(0.01)
    raise AssertionError(f"step {step} never came")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("ema", "accumulate"), [(0.9, 2), (0.0, 1)])
def test_two_halves_equal_the_whole(tmp_path, precision, ema, accumulate):
    config = toy_config(precision=precision, ema_decay=ema, accumulate=accumulate)
    toy_train(tmp_path / "whole", config=config)
    toy_train(tmp_path / "halves", config=config)
    for step in CheckpointFolder(tmp_path / "halves/checkpoints").steps()[1:]:
        newer = tmp_path / f"halves/checkpoints/step-{step:08d}"
        newer.rename(tmp_path / newer.name)
    torch.rand(17)  # The global generator is elsewhere now; that must not matter.
    loader = ToyLoader()
    result = toy_train(tmp_path / "halves", config=config, loader=loader, resume=True)
    assert result.finished
    assert loader.read[0] > 0, "it began anew"
    assert_bit_equal(tmp_path / "whole", tmp_path / "halves")
    assert curve(tmp_path / "whole") == curve(tmp_path / "halves")


def test_time_limit_stops_and_resumes_to_the_same_weights(tmp_path):
    toy_train(tmp_path / "whole", config=toy_config())
    pieces = 0
    for _ in range(20):
        config = toy_config(time_limit_s=0.05)
        result = toy_train(
            tmp_path / "pieces", config=config, loader=ToyLoader(pause=0.02), resume=True
        )
        pieces += 1
        if result.finished:
            break
        assert result.stopped_by == "time limit of 0.05 s"
    assert result.finished
    assert pieces > 1
    assert_bit_equal(tmp_path / "whole", tmp_path / "pieces")
    assert curve(tmp_path / "whole") == curve(tmp_path / "pieces")


class SignallingLoader(ToyLoader):
    """Sends this very process a signal while batch 4 is being read, which is step 5."""

    def __init__(self, number: signal.Signals):
        super().__init__()
        self.number = number

    def batch(self, step):
        if step == 4:
            os.kill(os.getpid(), self.number)
        return super().batch(step)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_step_saves_and_can_be_resumed(tmp_path, caplog, number):
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    result = toy_train(tmp_path / "run", loader=SignallingLoader(number))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert (result.step, result.finished, result.stopped_by) == (5, False, number.name)
    assert f"Stopped at step 5 of 12 ({number.name})" in caplog.text
    assert "resume=true" in caplog.text
    assert toy_train(tmp_path / "run", resume=True).finished
    toy_train(tmp_path / "whole")
    assert_bit_equal(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_terminated_child_leaves_cleanly(tmp_path):
    process = launch(tmp_path / "run", steps=200, pause=0.05)
    wait_for_step(tmp_path / "run", 2, process)
    process.terminate()
    process.join(60)
    assert process.exitcode == 0
    saved = CheckpointFolder(tmp_path / "run/checkpoints").latest()
    assert saved is not None
    assert f"Stopped at step {saved.step} of 200" in (tmp_path / "run/stderr.txt").read_text()


def test_second_signal_acts_at_once():
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.reason == "SIGINT"
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, found)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """SIGKILL leaves no chance to save; what is on disk must do."""
    moments = random.Random(0)
    for kill in range(3):
        process = launch(tmp_path / "killed", steps=60, pause=0.02)
        wait_for_step(tmp_path / "killed", 8 + 15 * kill, process)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    process = launch(tmp_path / "killed", steps=60, pause=0)
    process.join(100)
    assert process.exitcode == 0, (tmp_path / "killed/stderr.txt").read_text()
    toy_train(tmp_path / "whole", config=toy_config(steps=60, accumulate=2, threads=1))
    assert_bit_equal(tmp_path / "killed", tmp_path / "whole")
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def test_new_run_does_not_mix_with_an_old_one(tmp_path):
    toy_train(tmp_path)
    with pytest.raises(TrainingError, match="resume=true"):
        toy_train(tmp_path)


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    first = toy_train(tmp_path)
    again = toy_train(tmp_path, resume=True)
    assert again.finished
    assert again.latest == first.latest


def test_changed_settings_are_said(tmp_path, caplog):
    toy_train(tmp_path, config=toy_config(steps=6))
    toy_train(tmp_path, config=toy_config(steps=8, keep=5), resume=True, policy=ToyPolicy())
    assert "steps 6 -> 8" in caplog.text
    assert "keep" not in caplog.text
