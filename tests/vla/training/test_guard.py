import json

import pytest
import torch
from safetensors.torch import load_file

from tests.vla.training.toys import ToyLoader, ToyPolicy, toy_config, toy_train
from vla.errors import TrainingError
from vla.training.checkpoint import CheckpointFolder
from vla.training.weights import module_tensors


def test_bad_sample_is_kept_as_evidence(tmp_path):
    policy, config = ToyPolicy(), toy_config(accumulate=2)
    with pytest.raises(TrainingError, match="nan-step-00000005"):
        toy_train(tmp_path, policy=policy, config=config, loader=ToyLoader(poison=9))
    folder = tmp_path / "nan-step-00000005"
    report = json.loads((folder / "report.json").read_text())
    clean, poisoned = report["batches"]
    assert [sample["non_finite"] for sample in clean["samples"]] == [[]] * 4
    assert [s["non_finite"] for s in poisoned["samples"]] == [[], ["state"], [], []]
    assert poisoned["samples"][1]["instruction"] == "do 9"
    assert report["non_finite_parameters"] == []
    assert "head.weight" in report["non_finite_gradients"]
    batch = load_file(folder / "batch-1.safetensors")
    assert batch.keys() == {"images.front", "state", "actions"}
    assert torch.isnan(batch["state"][1, 2])
    assert all(torch.isfinite(tensor).all() for tensor in module_tensors(policy).values())


def test_run_goes_on_from_before_the_accident(tmp_path):
    with pytest.raises(TrainingError):
        toy_train(tmp_path, loader=ToyLoader(poison=7))
    assert CheckpointFolder(tmp_path / "checkpoints").latest().step == 6
    assert toy_train(tmp_path, resume=True).finished


def test_a_non_finite_gradient_of_a_finite_loss_is_caught(tmp_path):
    class Root(ToyPolicy):
        def loss(self, batch, *, generator):
            # sqrt at 0: the value is fine, the slope is infinite.
            return self.head.weight.sub(self.head.weight.detach()).abs().sum().sqrt(), {}

    with pytest.raises(TrainingError, match=r"gradient norm (nan|inf)"):
        toy_train(tmp_path, policy=Root())
