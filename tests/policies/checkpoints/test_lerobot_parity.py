"""Whole models: our pi0, pi0.5 and SmolVLA against LeRobot's classes, through the public folder."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from policies.backbones.language_config import PaligemmaConfig, SmolvlmConfig
from policies.checkpoints.config import PublicConfig
from policies.checkpoints.lerobot_export import export_lerobot
from policies.config import VlaPolicyConfig
from policies.heads.config_expert import ExpertConfig
from policies.inference.random_weights import build_random
from tests.policies.checkpoints.lerobot_samples import (
    HORIZON,
    STATE,
    make_body,
    save_public,
    scatter,
    shrink_smolvla,
    shrink_their_pi,
)
from vla.types import Observation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # torchao's sources, compiled on the first import through lerobot
    pytest.mark.filterwarnings("ignore:invalid escape sequence:SyntaxWarning"),
]
TEXTS = ["pick up the red cube", "put it on the plate, please"]


def make_observation(body, text, seed):
    rng = np.random.default_rng(seed)
    return Observation(
        images={
            name: rng.integers(0, 256, (1, camera.height, camera.width, 3), dtype=np.uint8)
            for name, camera in body.cameras.items()
        },
        state=rng.normal(size=(1, STATE)).astype(np.float32),
        instruction=text,
        time=0.0,
    )


@torch.no_grad()
def plan_there(parts, ours, observation, seed):
    """LeRobot's chunk for the noise that ours has at this seed."""
    policy, before, after = parts
    axes = len(ours.embodiment.action)
    noise = torch.randn(HORIZON, axes, generator=torch.Generator().manual_seed(seed))
    noise = torch.cat([noise, ours.head.noise], dim=1)[None]
    batch = {
        f"observation.images.{name}": torch.from_numpy(image).movedim(-1, 1).float() / 255
        for name, image in observation.images.items()
    }
    batch |= {
        "observation.state": torch.from_numpy(observation.state),
        "task": [observation.instruction],
    }
    return after(policy.predict_action_chunk(before(batch), noise=noise))[0].numpy()


@pytest.mark.parametrize("kind", ["pi0", "pi05", "smolvla"])
def test_the_whole_policy_equals_lerobot(monkeypatch, tmp_path, kind):
    body = make_body(kind)
    *parts, folder = save_public(monkeypatch, kind, body, tmp_path)
    config = PublicConfig(path=str(folder), tokenizer=str(tmp_path / "words"))
    ours = config.build(body).eval()
    observations = [make_observation(body, text, k) for k, text in enumerate(TEXTS)]
    plans = ours.act(observations, seeds=[3, 4])
    for plan, observation, seed in zip(plans, observations, (3, 4), strict=True):
        want = plan_there(parts, ours, observation, seed)
        assert np.abs(want).mean() > 0.1, "a comparison of zeros proves nothing"
        np.testing.assert_allclose(plan.actions, want, atol=1e-5, rtol=1e-5)
    # Out again: LeRobot's class takes the weights, its factory config and processors.
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import make_pre_post_processors

    assert export_lerobot(ours, tmp_path / "out") == kind
    policy = parts[0]
    scatter(policy, seed=9)
    policy.load_state_dict(load_file(tmp_path / "out" / "model.safetensors"), strict=True)
    config = PreTrainedConfig.from_pretrained(tmp_path / "out")
    assert (config.type, config.chunk_size) == (kind, HORIZON)
    pipelines = make_pre_post_processors(config, pretrained_path=str(tmp_path / "out"))
    want = plan_there((policy, *pipelines), ours, observations[0], 3)
    np.testing.assert_allclose(plans[0].actions, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["pi0", "smolvla"])
def test_the_yardstick_plans_the_same(monkeypatch, kind):
    """What `vla bench inference peers=true` times is LeRobot's class with our weights."""
    from policies.lerobot_peer import LerobotPeer

    body = make_body(kind)
    backbone, head = make_twin(monkeypatch, kind)
    config = VlaPolicyConfig(horizon=HORIZON, backbone=backbone, head=head)
    ours = build_random(config, body, dtype=torch.float32, device=torch.device("cpu"))
    peer = LerobotPeer(ours, kind)
    observations = [make_observation(body, text, k) for k, text in enumerate(TEXTS)]
    want, plans = (policy.act(observations, seeds=[3, 4]) for policy in (ours, peer))
    assert peer.parameters > 1000
    assert np.abs(want[0].actions).mean() > 0.1
    for one, other in zip(want, plans, strict=True):
        np.testing.assert_allclose(other.actions, one.actions, atol=2e-4, rtol=2e-4)


def make_twin(monkeypatch, kind):
    """Our configs of LeRobot's small model, and LeRobot shrunk to it."""
    if kind == "smolvla":
        shrink_smolvla(monkeypatch)
        expert = ExpertConfig(
            width=24, family="llama", joint_every=2, causal=True, state="none", steps=10
        )
        return SmolvlmConfig(size="smolvla", fit="pad_corner", state="token"), expert
    from lerobot.policies.pi0 import modeling_pi0 as module

    shrink_their_pi(monkeypatch, module)
    plain = module.PI0Policy.__init__

    def begin(self, config, **options):
        plain(self, config, **options)
        eyes = self.model.paligemma_with_expert.paligemma.model.multi_modal_projector
        eyes.linear = torch.nn.Linear(16, 32)  # LeRobot has this width of the real model in it

    monkeypatch.setattr(module.PI0Policy, "__init__", begin)
    expert = ExpertConfig(width=16, mlp=48, steps=10)
    return PaligemmaConfig(size="pi", fit="pad_plain", state="none"), expert
