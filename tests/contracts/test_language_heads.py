"""What heads that are coupled to a language model promise, on real (small) language backbones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.backbones.interface import ContextShape
from policies.backbones.language_config import PaligemmaConfig, QwenVlConfig, SmolvlmConfig
from policies.heads.config_expert import ExpertConfig, InsulatedConfig
from policies.heads.config_language import ParallelConfig, ParallelDiffusionConfig, WordsConfig
from policies.heads.tokenizers.fast import FastTokenizer
from tests.policies.samples import EMBODIMENT, HORIZON, batch, build, observations, stir
from vla.errors import ConfigError

AXES = len(EMBODIMENT.action)
BACKBONE = PaligemmaConfig()
_EXPERT = {"width": 32, "mlp": 64, "steps": 4}
_SMOL = {"family": "llama", "joint_every": 2, "causal": True, "state": "none"}
HEADS = {
    "pi0": ExpertConfig(**_EXPERT),
    "pi0.5": ExpertConfig(**_EXPERT, time="norm", state="none"),
    "norm and state, delayed": ExpertConfig(**_EXPERT, time="norm", delay=2),
    "smolvla": ExpertConfig(**_EXPERT, **_SMOL),
    "insulated": InsulatedConfig(expert=ExpertConfig(**_EXPERT, insulate=True)),
    "words": WordsConfig(),
    "rt-2": WordsConfig(symbols="bins", words="rare", bins=64, begin="so:", temperature=1.0),
    "parallel": ParallelConfig(width=32),
    "parallel_diffusion": ParallelDiffusionConfig(
        width=32, train_steps=10, steps=3, prediction="sample"
    ),
}


def save_fast(path):
    chunks = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (64, HORIZON, AXES)))
    FastTokenizer.fit(chunks.float(), vocabulary=300).save(path)
    return WordsConfig(symbols="fast", fast=str(path), end="|", skip=16)


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    return save_fast(tmp_path_factory.mktemp("tokenizer") / "fast")


@pytest.fixture(params=[*HEADS, "fast"])
def config(request):
    if request.param == "fast":
        return request.getfixturevalue("fast")
    return HEADS[request.param]


@pytest.fixture
def policy(config):
    return stir(build(config, backbone=BACKBONE)).eval()


def encode(policy, source):
    return policy.backbone.encode(source.images, source.instruction, source.state)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(size=4, seed=1):
    return torch.randn(size, HORIZON, AXES, generator=seeded(seed))


def test_policy_plans_within_bounds_and_keeps_committed_rows(policy):
    seen = observations(3, pending=[0, 2, HORIZON])
    low = np.array([axis.low for axis in EMBODIMENT.action], np.float32)
    high = np.array([axis.high for axis in EMBODIMENT.action], np.float32)
    for observation, chunk in zip(seen, policy.act(seen, seeds=[0, 1, 2]), strict=True):
        assert chunk.actions.shape == (HORIZON, AXES)
        assert (chunk.actions >= low).all()
        assert (chunk.actions <= high).all()
        if observation.pending is not None:
            rows = len(observation.pending)
            np.testing.assert_array_equal(chunk.actions[:rows], observation.pending)


def test_batch_equals_singles(policy):
    many = observations(4, pending=[0, 2, 1, 2])
    together = policy.act(many, seeds=[5, 6, 7, 8])
    for index, observation in enumerate(many):
        alone = policy.act([observation], seeds=[5 + index])[0]
        np.testing.assert_allclose(together[index].actions, alone.actions, atol=1e-4)


def test_act_is_pure_and_sees_what_it_is_given(policy):
    seen = observations(8)
    first = policy.act(seen, seeds=range(8))
    policy.act(observations(3, seed=9), seeds=[4, 5, 6])
    for one, two in zip(first, policy.act(seen, seeds=range(8)), strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)
    others = [
        replace(o, images={k: 255 - v for k, v in o.images.items()}, instruction="something else")
        for o in seen
    ]
    pairs = zip(first, policy.act(others, seeds=range(8)), strict=True)
    assert not all(np.allclose(one.actions, two.actions, atol=1e-6) for one, two in pairs)


def test_weights_are_the_whole_policy(config, policy, tmp_path):
    save_file(policy.state_dict(), tmp_path / "weights.safetensors")
    other = build(config, seed=1, filled=False, backbone=BACKBONE).eval()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    seen = observations(2)
    for one, two in zip(policy.act(seen, seeds=[0, 1]), other.act(seen, seeds=[0, 1]), strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)


def test_every_weight_of_the_head_learns(policy):
    loss, _ = policy.loss(batch(), generator=seeded())
    again, _ = policy.loss(batch(), generator=seeded())
    assert torch.equal(loss, again)
    loss.backward()
    idle = [
        name
        for name, weight in policy.head.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert not idle


def test_loss_runs_under_autocast(policy):
    exact, _ = policy.loss(batch(), generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = policy.loss(batch(), generator=seeded())
    assert rough.dtype == torch.float32
    rough.backward()
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)


def test_padding_has_no_influence(policy):
    mask = torch.ones(4, HORIZON, AXES)
    mask[0, 2:] = 0
    mask[1, :, 2] = 0
    mask[2] = 0
    context = encode(policy, batch())
    actions = numbers().clamp(-1, 1)
    poisoned = actions.masked_fill(mask == 0, float("nan"))
    losses = policy.head.loss(context, poisoned, mask, generator=seeded())
    torch.testing.assert_close(losses, policy.head.loss(context, actions, mask, generator=seeded()))
    assert losses[2] == 0
    assert (losses[[1, 3]] > 0).all()  # of the first, `delay` may give all that is real
    losses.sum().backward()
    assert all(p.grad.isfinite().all() for p in policy.parameters() if p.grad is not None)


def test_later_rows_follow_committed_ones(config, policy):
    if isinstance(config, ParallelConfig) or getattr(config, "symbols", "") == "fast":
        pytest.skip("all rows at once: committed ones only overwrite")
    if config is HEADS["smolvla"]:
        assert policy.backbone.shape.language.layers > 1  # joint layers carry the rows
    with torch.no_grad():
        context = encode(policy, batch())
        plans = [
            policy.head.sample(context, torch.full((4, 2, AXES), value), numbers())
            for value in (-0.9, 0.9)
        ]
    assert not torch.allclose(plans[0][:, 2:], plans[1][:, 2:])


def test_tentative_rows_are_taken(config, policy):
    """Heads that denoise are drawn to them; the others ignore them."""
    with torch.inference_mode():
        context = encode(policy, batch())
        wanted = torch.full((4, 3, AXES), 0.5)
        plain = policy.head.sample(context, None, numbers())
        drawn = policy.head.sample(context, None, numbers(), tentative=wanted)
    ignores = isinstance(config, WordsConfig | ParallelConfig)
    assert torch.equal(plain, drawn) == ignores
    if isinstance(config, ExpertConfig | InsulatedConfig):
        error = [(plan[:, :3] - wanted).abs().mean() for plan in (plain, drawn)]
        assert error[1] < error[0]


@pytest.mark.parametrize("kind", [SmolvlmConfig, QwenVlConfig])
@pytest.mark.parametrize("name", ["pi0", "smolvla", "words", "parallel_diffusion"])
def test_other_families_serve_as_well(kind, name):
    policy = stir(build(HEADS[name], backbone=kind())).eval()
    loss, _ = policy.loss(batch(), generator=seeded())
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in policy.backbone.parameters())
    many = observations(2)
    together = policy.act(many, seeds=[0, 1])
    alone = policy.act(many[1:], seeds=[1])
    np.testing.assert_allclose(together[1].actions, alone[0].actions, atol=1e-4)


def test_heads_without_a_language_model_say_what_has_one(config):
    with pytest.raises(ConfigError, match="paligemma"):
        config.build(shape=ContextShape(dim=8, state_dim=3), action_dim=AXES, horizon=HORIZON)


def train(head, losses, weights, steps):
    """`losses(generator)` go down; the head's trained weights stay in it."""
    optimizer, generator = torch.optim.AdamW(weights, lr=2e-3, weight_decay=0.0), seeded(99)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, 2 * (1 - step / steps), (step + 1) / 10)
        loss = losses(generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return head.eval()


def check_played_back(planned, wanted):
    """Half the spread at most: noise is off by more than all of it, the mean chunk by 0.8."""
    error = (planned - wanted).abs().mean() / wanted.std()
    assert error < 0.5, f"it does not play back what it learned: {error}"


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["pi0", "pi0.5", "smolvla", "parallel"])
def test_head_learns_one_batch_behind_a_fixed_prefix(name):
    policy = build(HEADS[name], backbone=BACKBONE)
    with torch.no_grad():
        context, wanted = encode(policy, batch()), numbers().clamp(-1, 1)
    mask = torch.ones_like(wanted)
    head = train(
        policy.head,
        lambda generator: policy.head.loss(context, wanted, mask, generator=generator).mean(),
        list(policy.head.parameters()),
        500,
    )
    with torch.no_grad():
        check_played_back(head.sample(context, None, numbers(seed=5)), wanted)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["words", "fast"])
def test_language_model_learns_to_write_one_batch(name, request):
    config = request.getfixturevalue("fast") if name == "fast" else HEADS[name]
    policy, wanted = build(config, backbone=BACKBONE), numbers().clamp(-1, 1)
    mask = torch.ones_like(wanted)
    with torch.no_grad():  # the eyes are not to be trained here: too slow
        context = encode(policy, batch())
    decoder = list(policy.backbone.decoder.parameters())
    head = train(
        policy.head,
        lambda generator: policy.head.loss(context, wanted, mask, generator=generator).mean(),
        [weight for weight in decoder if weight.requires_grad],
        120,
    )
    with torch.no_grad():
        check_played_back(head.sample(context, None, numbers(seed=5)), wanted)
