"""What every policy, head and backbone promises, whatever its kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.backbones.config import AutoBackboneConfig
from policies.backbones.interface import Context, ContextShape
from policies.heads.config import DenoisingConfig
from policies.heads.interface import average, commit
from tests.policies.samples import (
    EMBODIMENT,
    HEADS,
    HORIZON,
    TINY,
    batch,
    build,
    observations,
    repeat,
    stir,
)
from tests.policies.test_auto import save_llava
from vla.contract import Policy

AXES = len(EMBODIMENT.action)
DIM = 12


@pytest.fixture(params=sorted(HEADS))
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["absolute", "relative"])
def relative(request):
    return request.param


@pytest.fixture
def policy(kind, relative):
    return stir(build(kind, relative_actions=relative))


@pytest.fixture
def head(kind):
    torch.manual_seed(0)
    return stir(HEADS[kind].build(shape=ContextShape(dim=DIM), action_dim=AXES, horizon=HORIZON))


@pytest.fixture(params=["tiny", "auto"])
def backbone(request, tmp_path):
    torch.manual_seed(0)
    config = TINY
    if request.param == "auto":
        save_llava(tmp_path)
        config = AutoBackboneConfig(name=str(tmp_path), freeze="none", labels=["target"])
    return config.build(EMBODIMENT, history=1)


def make_context(size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(size, 5, dtype=torch.bool)
    mask[0, 3:] = False
    return Context(
        tokens=torch.randn(size, 5, DIM, generator=generator),
        mask=mask,
        pooled=torch.randn(size, DIM, generator=generator),
    )


def pick(context, rows):
    return Context(
        tokens=context.tokens[rows], mask=context.mask[rows], pooled=context.pooled[rows]
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(size=3, seed=1):
    return torch.randn(size, HORIZON, AXES, generator=seeded(seed))


# Policies


def test_policy_keeps_the_protocol(policy):
    assert isinstance(policy, Policy)
    chunks = policy.act(observations(3), seeds=[0, 1, 2])
    assert [chunk.time for chunk in chunks] == [0.0, 1.0, 2.0]
    low = np.array([axis.low for axis in policy.embodiment.action], np.float32)
    high = np.array([axis.high for axis in policy.embodiment.action], np.float32)
    for chunk in chunks:
        assert chunk.actions.shape == (HORIZON, AXES)
        assert (chunk.actions >= low).all()
        assert (chunk.actions <= high).all()


def test_batch_equals_singles(policy):
    many = observations(4, pending=[0, 2, 1, 2], tentative=[0, 1, 0, 1])
    together = policy.act(many, seeds=[5, 6, 7, 8])
    for index, observation in enumerate(many):
        alone = policy.act([observation], seeds=[5 + index])[0]
        np.testing.assert_allclose(together[index].actions, alone.actions, atol=1e-5)


def test_act_is_pure(policy):
    seen = observations(2)
    first = policy.act(seen, seeds=[0, 1])
    policy.act(observations(3, seed=9), seeds=[4, 5, 6])
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again = policy.act(seen, seeds=[0, 1])
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)
    assert torch.equal(before, torch.random.get_rng_state()), "act drew from the global RNG"


def test_act_depends_on_what_it_is_given(policy):
    seen = observations(8)
    changes = {
        "image": lambda o: {"images": {name: 255 - image for name, image in o.images.items()}},
        "state": lambda o: {"state": o.state + 1},
        "words": lambda o: {"instruction": "something else entirely"},
    }
    plans = [chunk.actions for chunk in policy.act(seen, seeds=range(8))]
    for what, change in changes.items():
        others = policy.act([replace(o, **change(o)) for o in seen], seeds=range(8))
        same = [np.allclose(p, o.actions, atol=1e-6) for p, o in zip(plans, others, strict=True)]
        assert not all(same), f"the {what} makes no difference"


def test_pending_rows_come_back_unchanged(policy):
    seen = observations(2, pending=[3, HORIZON])
    for observation, chunk in zip(seen, policy.act(seen, seeds=[0, 1]), strict=True):
        rows = len(observation.pending)
        np.testing.assert_array_equal(chunk.actions[:rows], observation.pending)


def test_tentative_rows_bind_nobody(kind, policy):
    """Heads that denoise are drawn towards them, the others ignore them."""
    seen = observations(2, pending=[1, 0], tentative=[2, 2])
    plans = policy.act(seen, seeds=[0, 1])
    others = policy.act([replace(one, tentative=None) for one in seen], seeds=[0, 1])
    same = [np.array_equal(a.actions, b.actions) for a, b in zip(plans, others, strict=True)]
    assert same == [not isinstance(HEADS[kind], DenoisingConfig)] * 2
    np.testing.assert_array_equal(plans[0].actions[:1], seen[0].pending)


def test_weights_are_the_whole_policy(kind, relative, policy, tmp_path):
    """Statistics included: a policy built without them acts alike once weights are loaded."""
    save_file(policy.state_dict(), tmp_path / "weights.safetensors")
    other = build(kind, seed=1, filled=False, relative_actions=relative)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    seen = observations(2)
    for one, two in zip(policy.act(seen, seeds=[0, 1]), other.act(seen, seeds=[0, 1]), strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)


def test_loss_is_a_function_of_weights_batch_and_generator(policy):
    torch.manual_seed(0)
    first, parts = policy.loss(batch(), generator=seeded())
    torch.manual_seed(1)
    again, _ = policy.loss(batch(), generator=seeded())
    assert torch.equal(first, again)
    assert first.shape == ()
    expected = parts["action"] + policy.config.grounding_weight * parts["grounding"]
    torch.testing.assert_close(parts["loss"], expected)


def test_every_weight_learns(policy):
    """A parameter without a gradient is dead code, or breaks distributed training."""
    loss, _ = policy.loss(batch(), generator=seeded())
    loss.backward()
    idle = [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_loss_runs_under_autocast(policy):
    """The mixed-precision loss stays float32 and near the full-precision one."""
    exact, _ = policy.loss(batch(), generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = policy.loss(batch(), generator=seeded())
    assert rough.dtype == torch.float32
    rough.backward()
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)


STEPS = {"regression": 200, "tokens": 120, "cvae": 250, "vq": 300}
DENOISED = {"flow": 120, "diffusion": 200, "dit": 180, "unet": 120, "readout": 120}
"""Steps over eight noise levels of the batch at once: quicker than eight times the steps."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", sorted(STEPS | DENOISED))
def test_one_batch_is_overfitted(kind):
    policy, data = build(kind), batch()
    steps, shown = STEPS.get(kind), data
    if steps is None:
        steps, shown = DENOISED[kind], repeat(data, 8)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3, weight_decay=0.0)

    def measure():
        with torch.no_grad():
            losses = [policy.loss(data, generator=seeded(k))[1]["action"] for k in range(20)]
        return torch.stack(losses).mean().item()

    before, generator = measure(), seeded(99)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, 2 * (1 - step / steps))
        loss, _ = policy.loss(shown, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    after = measure()
    assert after < 0.2 * before, f"{kind}: {before:.3f} to {after:.3f}"
    seen = observations()
    planned = np.stack([chunk.actions for chunk in policy.act(seen, seeds=range(len(seen)))])
    spread = data.actions.numpy().std(axis=(0, 1))
    error = np.abs(planned - data.actions.numpy()).mean(axis=(0, 1)) / spread
    assert (error < 0.3).all(), f"{kind} does not play back what it learned: {error}"


# Heads


def test_head_shapes(head):
    loss = head.loss(make_context(), numbers(), torch.ones(3, HORIZON, AXES), generator=seeded())
    assert loss.shape == (3,)
    assert loss.isfinite().all()
    assert head.sample(make_context(), None, numbers()).shape == (3, HORIZON, AXES)


def test_padding_has_no_influence(head):
    mask = torch.ones(3, HORIZON, AXES)
    mask[0, 2:] = 0
    mask[1, :, 2] = 0
    actions = numbers().requires_grad_()
    head.loss(make_context(), actions, mask, generator=seeded()).sum().backward()
    if actions.grad is not None:  # symbols have none at all
        assert not actions.grad[mask == 0].any()
    poisoned = numbers().masked_fill(mask == 0, float("nan"))
    losses = head.loss(make_context(), poisoned, mask, generator=seeded())
    clean = head.loss(make_context(), numbers(), mask, generator=seeded())
    torch.testing.assert_close(losses, clean)
    losses.sum().backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


def test_sample_of_padding_only_costs_nothing(head):
    mask = torch.ones(3, HORIZON, AXES)
    mask[1] = 0
    losses = head.loss(make_context(), numbers(), mask, generator=seeded())
    assert losses[1] == 0
    assert (losses[[0, 2]] > 0).all()


def test_masked_context_tokens_are_not_read(head):
    context = make_context()
    tokens = context.tokens.clone()
    tokens[~context.mask] = 100.0
    other = Context(tokens=tokens, mask=context.mask, pooled=context.pooled)
    torch.testing.assert_close(
        head.sample(context, None, numbers()), head.sample(other, None, numbers())
    )


def test_permuted_batch_gives_permuted_plans(head):
    order = torch.tensor([2, 0, 1])
    pending = numbers(seed=3)[:, :2].clamp(-1, 1)
    plain = head.sample(make_context(), pending, numbers())
    permuted = head.sample(pick(make_context(), order), pending[order], numbers()[order])
    torch.testing.assert_close(permuted, plain[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [1, HORIZON])
def test_head_returns_committed_rows(head, rows):
    pending = numbers(seed=3)[:, :rows]
    plan = head.sample(make_context(), pending, numbers())
    assert torch.equal(plan[:, :rows], pending)


def test_later_rows_follow_committed_ones(kind, head):
    if kind in ("regression", "cvae", "vq"):
        pytest.skip("it predicts all rows at once")
    plans = [
        head.sample(make_context(), torch.full((3, 2, AXES), value), numbers())
        for value in (-0.9, 0.9)
    ]
    assert not torch.allclose(plans[0][:, 2:], plans[1][:, 2:])


def test_average_and_commit():
    error = torch.arange(12.0).view(2, 3, 2)
    mask = torch.zeros(2, 3, 2)
    mask[0, :2] = 1
    assert average(error, mask).tolist() == [1.5, 0.0]
    assert commit(error, None) is error
    assert commit(error, -torch.ones(2, 1, 2))[:, :, 0].tolist() == [[-1, 2, 4], [-1, 8, 10]]


# Backbones


def encode(backbone, source):
    return backbone.encode(source.images, source.instruction, source.state)


def test_backbone_shapes(backbone):
    context = encode(backbone, batch())
    size, count, width = context.tokens.shape
    assert (size, width) == (4, backbone.dim)
    assert context.mask.shape == (4, count)
    assert context.mask.dtype == torch.bool
    assert context.mask.any(dim=1).all()
    assert context.pooled.shape == (4, backbone.dim)
    assert context.labels["target"].shape == (4, 2)


def test_backbone_encodes_each_as_if_alone(backbone):
    source = batch()
    together = encode(backbone, source)
    for index in range(len(source)):
        rows = slice(index, index + 1)
        images = {name: image[rows] for name, image in source.images.items()}
        alone = backbone.encode(images, source.instruction[rows], source.state[rows])
        torch.testing.assert_close(together.pooled[rows], alone.pooled, atol=1e-5, rtol=1e-4)
        real = together.tokens[index][together.mask[index]]
        torch.testing.assert_close(real, alone.tokens[0][alone.mask[0]], atol=1e-5, rtol=1e-4)


def test_context_repeats_each_sample_in_a_row():
    context = make_context()
    repeated = context.repeat(2)
    assert torch.equal(repeated.pooled, context.pooled[[0, 0, 1, 1, 2, 2]])
    assert torch.equal(repeated.mask, context.mask[[0, 0, 1, 1, 2, 2]])
    assert context.repeat(1) is context
