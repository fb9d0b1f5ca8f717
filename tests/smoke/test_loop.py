"""The whole loop through the public command, as small as it goes."""

import json
from pathlib import Path

import pytest

from tests.command import run_vla

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SMALL_POLICY = [
    "policy.backbone.channels=8",
    "policy.backbone.blocks=2",
    "policy.backbone.width=32",
]
SMALL_TRAINING = [
    "training.steps=4", "training.batch_size=4", "training.warmup_steps=1",
    "training.validation_batches=1", "training.eval_every=2", "training.checkpoint_every=2",
]  # fmt: skip


def vla(*words: str, status: int = 0) -> str:
    """What `vla WORDS` prints."""
    ended = run_vla(*words)
    assert ended.status == status, ended.stderr + ended.stdout
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A demo of the smallest size, run once."""
    root = tmp_path_factory.mktemp("demo")
    lists = {
        "record": ["episodes=2", "world.image_size=32"],
        "train": [*SMALL_POLICY, *SMALL_TRAINING, "data.held_out=0.25"],
        "eval": ["evaluation.episodes=1", "world.image_size=32",
                 "evaluation.conditions=[given,swapped]", "evaluation.max_steps=5"],
        "run": ["world.image_size=32", "seconds=1.5", "task=reach"],
    }  # fmt: skip
    words = [f"{stage}={json.dumps(entries)}" for stage, entries in lists.items()]
    vla("demo", f"output={root}", *words)
    return root


def test_demo_writes_a_summary_and_a_report(demo):
    summary = json.loads((demo / "summary.json").read_text())
    assert set(summary["tasks"]) == {"reach", "push", "lift", "place"}
    assert summary["pooled"]["n"] == 4
    assert 0.0 <= summary["pooled"]["low"] <= summary["pooled"]["high"] <= 1.0
    assert set(summary["conditions"]) == {"swapped"}
    assert summary["live"]["n"] == 1
    assert set(summary["seconds"]) == {"record", "train", "eval", "run", "report", "total"}
    page = (demo / "report.html").read_text()
    assert "<video" in page
    assert "place" in page


def test_finished_stages_are_not_run_again(demo):
    command = json.loads((demo / "journal.json").read_text())["record"]["command"]
    assert command[0] == "record"
    assert "exists" in vla("record", *command[1:], status=2)


@pytest.mark.parametrize("head", ["flow", "diffusion", "tokens"])
def test_every_head_trains_on_the_same_store(demo, head, tmp_path):
    store = f"data.path={demo}/demonstrations"
    words = [*SMALL_POLICY, *SMALL_TRAINING, "policy.horizon=4", f"policy/head={head}"]
    vla("train", store, f"output={tmp_path}", *words)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4
    assert (tmp_path / "report.html").exists()


def test_another_embodiment_and_a_damaged_checkpoint_are_refused(demo, tmp_path):
    where = [f"checkpoint={demo}/training", f"output={tmp_path}/out"]
    message = vla("eval", *where, "world.image_size=48", status=2)
    assert "camera 'front'" in message
    weights = next(demo.glob("training/checkpoints/*/weights.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    checkpoint = tmp_path / weights.parent.name
    checkpoint.mkdir()
    for file in weights.parent.iterdir():
        if file.is_file():
            (checkpoint / file.name).write_bytes(file.read_bytes())
    (checkpoint / weights.name).write_bytes(content)
    words = [f"checkpoint={checkpoint}", f"output={tmp_path}/out", "world.image_size=32"]
    assert "damaged" in vla("eval", *words, status=2)


def test_a_mixture_trains_resumes_and_is_evaluated(demo, tmp_path):
    """Two stores of one body in one stream; the checkpoint drives that body."""
    vla("record", f"output={tmp_path}/more", "episodes=1", "world.image_size=48", "seed=5")
    (tmp_path / "demonstrations").symlink_to(demo / "demonstrations")
    words = [
        "train", "data=mixture", f"data.root={tmp_path}", "data.weights={demonstrations:1,more:2}",
        "data.cameras={main:[front]}", "data.image_size=[32,32]", "data.held_out=0.25",
        "policy.backbone.grounding_camera=main",
        *SMALL_POLICY, *SMALL_TRAINING, f"output={tmp_path}/run",
    ]  # fmt: skip
    vla(*words)
    errors = json.loads((tmp_path / "run" / "open_loop.json").read_text())
    assert "demonstrations" in errors
    where = [f"checkpoint={tmp_path}/run", f"output={tmp_path}/eval", "evaluation.episodes=1"]
    vla("eval", *where, "world.image_size=32", "evaluation.max_steps=3")
    assert (tmp_path / "eval" / "report.html").exists()
    changed = [word.replace("more:2", "more:3") for word in words]
    assert "other data" in vla(*changed, "resume=true", "training.steps=6", status=2)
