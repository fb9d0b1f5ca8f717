import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.vla.training.toys import META, ToyPolicy, toy_config, toy_train
from vla.errors import CheckpointError
from vla.training.checkpoint import (
    CheckpointFolder,
    CheckpointMeta,
    TrainingState,
    load_training,
    load_weights,
    open_checkpoint,
)
from vla.training.weights import module_tensors


def write(folder: CheckpointFolder, step: int, score: float | None = None):
    training = TrainingState(raw={}, optimizer={}, state={})
    weights = {"x": torch.full((3,), float(step))}
    return folder.write(step, meta=META, weights=weights, training=training, score=score)


def vector_module() -> nn.Module:
    module = nn.Module()
    module.x = nn.Parameter(torch.zeros(3))
    return module


def test_newest_and_best_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    for step, score in [(1, 0.5), (2, 0.1), (3, None), (4, 0.3), (5, 0.1)]:
        write(folder, step, score)
    assert folder.steps() == [2, 4, 5]
    assert folder.latest().step == 5
    assert folder.best().step == 2
    assert folder.improves(0.05)
    assert not folder.improves(0.1)
    assert not folder.improves(None)


def test_contents_and_opening_from_above(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=3)
    write(folder, 1, 0.2)
    path = write(folder, 2, 0.4)
    assert {p.name for p in path.iterdir()} == {
        "weights.safetensors", "config.yaml", "contract.json", "training"
    }  # fmt: skip
    checkpoint = open_checkpoint(path)
    assert checkpoint.contract["embodiment"] == {"name": "toy"}
    assert checkpoint.config_yaml == META.config_yaml
    assert open_checkpoint(tmp_path).step == 1, "a run's folder stands for its best checkpoint"
    module = vector_module()
    load_weights(module, tmp_path / "checkpoints")
    assert module.x.tolist() == [1, 1, 1]
    load_weights(module, path / "weights.safetensors")
    assert module.x.tolist() == [2, 2, 2]


def test_saved_weights_are_the_averages_and_validation_saw_them(tmp_path):
    seen = []

    def validation(policy):
        assert not policy.training
        seen.append({k: v.detach().clone() for k, v in module_tensors(policy).items()})
        return {"loss": -float(len(seen))}

    policy = ToyPolicy()
    result = toy_train(tmp_path, policy=policy, validation=validation)
    saved = load_file(result.latest.path / "weights.safetensors")
    assert all(torch.equal(saved[name], seen[-1][name]) for name in saved)
    assert not torch.equal(saved["head.weight"], policy.head.weight)
    assert policy.training
    raw = load_training(result.latest).raw
    assert torch.equal(raw["head.weight"], policy.head.weight)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    result = toy_train(tmp_path, config=toy_config(steps=4))
    assert "unembed.weight" not in load_file(result.latest.path / "weights.safetensors")
    policy = ToyPolicy()
    load_weights(policy, tmp_path)
    assert policy.unembed.weight is policy.words.weight
    assert policy.calls.item() == 4


@pytest.mark.parametrize("file", ["weights.safetensors", "training/optimizer.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damage_is_found_and_the_way_out_named(tmp_path, file, damage):
    result = toy_train(tmp_path, config=toy_config(steps=6))
    path = result.latest.path / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-100] if damage == "truncate" else content)
    fault = f"{path.name} is {'missing' if damage == 'remove' else 'damaged'}"
    with pytest.raises(CheckpointError, match=f"step-00000006 .*{fault}.*resume from step 4"):
        toy_train(tmp_path, config=toy_config(steps=6), resume=True)
    shutil.rmtree(result.latest.path)
    assert toy_train(tmp_path, config=toy_config(steps=6), resume=True).finished


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1, "step": 1}'])
def test_bad_contract_is_refused(tmp_path, text):
    path = write(CheckpointFolder(tmp_path), 1)
    (path / "contract.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"contract\.json (is not JSON|lacks .*score)"):
        open_checkpoint(path)


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    for module in ("checkpoint", "deployed"):
        monkeypatch.setattr(f"vla.training.{module}.FORMAT", 2)
    path = write(CheckpointFolder(tmp_path), 1)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2; this version reads 1"):
        open_checkpoint(path)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="Give a checkpoint's folder"):
        load_weights(vector_module(), tmp_path / "nowhere")


def test_misfits_are_all_listed_and_nothing_is_loaded(tmp_path):
    file = tmp_path / "foreign.safetensors"
    tensors = {name: torch.full_like(t, 5) for name, t in module_tensors(ToyPolicy()).items()}
    tensors["head.bias"] = torch.zeros(4)
    tensors["stranger"] = tensors.pop("words.weight")
    save_file(tensors, file)
    policy = ToyPolicy()
    before = {name: t.detach().clone() for name, t in module_tensors(policy).items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(policy, file)
    for line in ("missing in the file: words.weight", "unknown to the policy: stranger",
                 "head.bias: (4,) in the file, (3,) in the policy"):  # fmt: skip
        assert line in str(error.value)
    assert all(torch.equal(before[name], t) for name, t in module_tensors(policy).items())


def test_a_killed_write_is_invisible_and_swept_up(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints")
    done = toy_train(tmp_path, config=toy_config(steps=4)).latest
    stale = folder.path / ".unfinished-123-step-00000008"
    shutil.copytree(done.path, stale)
    (stale / "contract.json").unlink()
    assert folder.latest().step == 4
    toy_train(tmp_path, config=toy_config(steps=6), resume=True)
    assert not stale.exists()
    assert [p.name for p in folder.path.glob(".*")] == []


def test_a_failed_write_leaves_nothing_and_says_what_to_do(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    write(folder, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vla.training.checkpoint.write_json", full)
    with pytest.raises(CheckpointError, match=r"No space left.*goes on from step 1"):
        write(folder, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_contract_must_be_json_before_the_run_begins():
    with pytest.raises(CheckpointError, match="JSON"):
        CheckpointMeta(config_yaml="", contract={"x": float("nan")})


def test_digest_is_that_of_the_file(tmp_path):
    import hashlib

    path = write(CheckpointFolder(tmp_path), 1)
    digest = hashlib.sha256((path / "weights.safetensors").read_bytes()).hexdigest()
    assert json.loads((path / "contract.json").read_text())["weights_sha256"] == digest
