"""The policies' contracts, for policies around a language model (tiny sizes)."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.backbones.language_config import (
    PaligemmaConfig,
    PrismaticConfig,
    QwenVlConfig,
    ReducedConfig,
    SmolvlmConfig,
)
from tests.contracts.test_policies import (  # noqa: F401 - collected here, with this policy
    test_act_depends_on_what_it_is_given,
    test_act_is_pure,
    test_backbone_encodes_each_as_if_alone,
    test_backbone_shapes,
    test_batch_equals_singles,
    test_loss_is_a_function_of_weights_batch_and_generator,
    test_loss_runs_under_autocast,
    test_policy_keeps_the_protocol,
)
from tests.policies.samples import EMBODIMENT, batch, build, observations, stir

LABELS = {"labels": ["target"]}
BACKBONES = {
    "paligemma": PaligemmaConfig(**LABELS),
    "paligemma-text": PaligemmaConfig(**LABELS, state="text", pool="last"),
    "prismatic": PrismaticConfig(**LABELS, attention="bidirectional"),
    "prismatic-film": PrismaticConfig(**LABELS, film=True),
    "qwen_vl": QwenVlConfig(**LABELS),
    "smolvlm": SmolvlmConfig(**LABELS),
    "pooled": ReducedConfig(inner=PaligemmaConfig(**LABELS), keep=4, scales=[1, 4, 9]),
    "merged": ReducedConfig(inner=SmolvlmConfig(**LABELS), method="merge", keep=9),
}


@pytest.fixture(params=sorted(BACKBONES))
def kind(request):
    return request.param


@pytest.fixture
def policy(kind):
    return stir(build("regression", backbone=BACKBONES[kind]))


@pytest.fixture
def backbone(kind):
    torch.manual_seed(0)
    return BACKBONES[kind].build(EMBODIMENT, history=1).eval()


def test_weights_are_the_whole_policy(kind, policy, tmp_path):
    save_file(policy.state_dict(), tmp_path / "weights.safetensors")
    other = build("regression", backbone=BACKBONES[kind], seed=1, filled=False)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    plans = [one.eval().act(observations(2), seeds=[0, 1]) for one in (policy, other)]
    for one, two in zip(*plans, strict=True):
        assert (one.actions == two.actions).all()


def test_every_trained_weight_learns(policy):
    """Three samples: the signs of an odd number of errors do not cancel in a bias."""
    loss, _ = policy.loss(batch(3), generator=torch.Generator().manual_seed(0))
    loss.backward()
    idle = [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@pytest.mark.slow
def test_one_batch_is_overfitted():
    policy, data = build("regression", backbone=BACKBONES["paligemma"]).train(), batch()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(80):
        loss, parts = policy.loss(data, generator=torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        losses.append(parts["action"].item())
    assert losses[-1] < 0.2 * losses[0], f"{losses[0]:.3f} to {losses[-1]:.3f}"
