"""Our policies in LeRobot's tools: a step of lerobot-train, and its checkpoint loaded again."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.vla.data.convert.test_lerobot_export import store
from vla.data.convert.lerobot_export import export

__all__ = ["store"]  # a fixture
PLUGIN = Path(__file__).parents[2] / "plugins" / "lerobot_policy_vla"
SMALL = "{kind: tiny, width: 32, layers: 1, attention_heads: 2, channels: 8, blocks: 2, grid: 8}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore:invalid escape sequence:SyntaxWarning"),
]


def train(folder, output):
    words = {
        "dataset.repo_id": "local/set",
        "dataset.root": folder,
        "policy.discover_packages_path": "lerobot_policy_vla",
        "policy.type": "vla",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "policy.backbone": SMALL,
        "policy.head": "{kind: flow, width: 32, layers: 1, attention_heads: 2, steps: 2}",
        "policy.horizon": 4,
        "steps": 2,
        "batch_size": 2,
        "num_workers": 0,
        "wandb.enable": "false",
        "output_dir": output,
    }
    path = os.pathsep.join([str(PLUGIN), str(PLUGIN.parents[1])])
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "lerobot.scripts.lerobot_train",
            *(f"--{key}={value}" for key, value in words.items()),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path},
    )


def test_lerobot_trains_our_policy(tmp_path, store, monkeypatch):
    export(store, tmp_path / "set", codec="h264")
    done = train(tmp_path / "set", tmp_path / "run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "End of training" in done.stderr + done.stdout

    monkeypatch.syspath_prepend(str(PLUGIN))
    import lerobot_policy_vla  # noqa: F401  (what LeRobot does with a plug-in's name)
    import torch
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    (folder,) = (tmp_path / "run" / "checkpoints").glob("[0-9]*/pretrained_model")
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class("vla").from_pretrained(folder, config=config)
    assert [axis.name for axis in policy.inner.embodiment.action] == ["dx", "grip"]
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    batch = before(
        {
            "observation.state": torch.rand(2),
            "observation.images.front": torch.rand(3, 64, 96),
            "observation.images.wrist.left": torch.rand(3, 64, 64),
            "task": "task 1",
        }
    )
    torch.manual_seed(0)
    rows = [after(policy.select_action(batch)).numpy() for _ in range(4)]
    policy.reset()
    torch.manual_seed(0)
    chunk = policy.predict_action_chunk(batch)[0].numpy()
    np.testing.assert_array_equal(np.concatenate(rows), chunk)
    spread = policy.inner.action_normalizer.scale.numpy()
    assert (spread > 0.5).all()
    assert (spread < 1.5).all(), "statistics of the data, which are uniform in [-1, 1]"
