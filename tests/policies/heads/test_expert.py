"""What makes an expert one: what it sees, what it leaves alone, what it is not charged for."""

import pytest
import torch

from policies.backbones.interface import Context, ContextShape, Geometry, Prefix
from policies.heads.config_expert import ExpertConfig, InsulatedConfig
from policies.heads.expert import encode_time, widen
from policies.heads.expert_layers import RmsNorm, rotate, turns
from tests.contracts.test_language_heads import BACKBONE, HEADS, encode
from tests.policies.samples import batch, build, stir
from vla.errors import ConfigError, ShapeError

SIZE, WORDS, HORIZON, AXES, STATE = 2, 6, 4, 3, 5
GEOMETRY = Geometry(
    width=24, layers=4, heads=4, key_value_heads=2, head_dim=6, rope_theta=1e4, vocabulary=9
)
SHAPE = ContextShape(dim=24, state_dim=STATE, language=GEOMETRY)
SMOL = {"family": "llama", "joint_every": 2, "causal": True, "state": "none"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_context(seed=0, **changes):
    generator = seeded(seed)
    shape = (SIZE, 2, WORDS, 6)
    layers = tuple(
        (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
        for _ in range(4)
    )
    mask = torch.ones(SIZE, WORDS, dtype=torch.bool)
    mask[0, 4:] = False
    values = {
        "tokens": torch.zeros(SIZE, WORDS, 24),
        "mask": mask,
        "pooled": torch.zeros(SIZE, 24),
        "state": torch.randn(SIZE, 1, STATE, generator=generator),
        "prefix": Prefix(layers=layers, mask=mask, positions=mask.cumsum(1) - 1),
    }
    return Context(**(values | changes))


def make_head(**options):
    torch.manual_seed(0)
    config = ExpertConfig(**({"width": 16, "mlp": 32} | options))
    return stir(config.build(shape=SHAPE, action_dim=AXES, horizon=HORIZON))


def jacobian(head):
    """Which rows' velocity (first index) depends on which noisy rows (second)."""
    context = head.denoiser.read(make_context())
    time, noise = torch.full((SIZE,), 0.5), torch.randn(SIZE, HORIZON, AXES, generator=seeded(1))

    def velocity(x):
        return head.denoiser(x, time, context).sum(dim=(0, 2))

    return torch.autograd.functional.jacobian(velocity, noise).abs().sum(dim=(1, 3)) > 0


def test_action_rows_see_each_other_or_only_those_before():
    everyone = torch.ones(HORIZON, HORIZON, dtype=torch.bool)
    assert torch.equal(jacobian(make_head()), everyone)
    assert torch.equal(jacobian(make_head(causal=True)), everyone.tril())


def test_layers_that_only_cross_attend_mix_no_rows():
    head = make_head(**SMOL)
    for layer in head.denoiser.layers:
        if layer.joint:
            torch.nn.init.zeros_(layer.out.weight)
    assert torch.equal(jacobian(head), torch.eye(HORIZON, dtype=torch.bool))


@pytest.mark.parametrize("options", [{}, {"time": "norm", "state": "none"}, SMOL])
def test_padding_of_the_prefix_is_not_read(options):
    head, noise = make_head(**options), torch.randn(SIZE, HORIZON, AXES, generator=seeded(1))
    context = make_context()
    prefix = context.prefix
    hidden = prefix.mask[:, None, :, None]
    layers = tuple(
        tuple(part.masked_fill(~hidden, 50.0) for part in layer) for layer in prefix.layers
    )
    places = prefix.positions.masked_fill(~prefix.mask, 1000)
    other = make_context(prefix=Prefix(layers=layers, mask=prefix.mask, positions=places))
    torch.testing.assert_close(head.sample(context, None, noise), head.sample(other, None, noise))


def test_prefix_is_left_as_it_is_and_read_once():
    head, context = make_head(**SMOL), make_context()
    before = [part.clone() for layer in context.prefix.layers for part in layer]
    calls = []
    head.denoiser.layers[1].key.register_forward_hook(lambda *_: calls.append(1))
    head.sample(context, None, torch.zeros(SIZE, HORIZON, AXES))
    assert len(calls) == 1, "the expert's own projections of the prefix serve all ten steps"
    after = [part for layer in context.prefix.layers for part in layer]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_fewer_layers_take_every_other_of_the_language_model():
    head, context = make_head(layers=2), make_context()
    read = head.denoiser.read(context).prefix.layers
    assert read[0][0] is context.prefix.layers[0][0]
    assert read[1][0] is context.prefix.layers[2][0]


def test_adaptive_layers_start_as_the_identity():
    torch.manual_seed(0)
    config = ExpertConfig(width=16, mlp=32, time="norm", state="none")
    network = config.build(shape=SHAPE, action_dim=AXES, horizon=HORIZON).denoiser
    x = torch.randn(SIZE, HORIZON, 16)
    condition = torch.randn(SIZE, 1, 16)
    known = make_context().prefix.layers[0]
    visible = torch.ones(SIZE, 1, HORIZON, WORDS + HORIZON, dtype=torch.bool)
    turn = turns(torch.arange(HORIZON).expand(SIZE, -1), 6, 1e4)
    assert torch.equal(network.layers[0](x, condition, known, visible, turn), x)


def test_norms_follow_gemma():
    norm, x = RmsNorm(8, family="gemma"), torch.randn(2, 3, 8)
    expected = torch.nn.functional.rms_norm(x, (8,), eps=1e-6)
    torch.testing.assert_close(norm(x, None)[0], expected)


def test_rotation_depends_on_the_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 8, generator=seeded())

    def score(one, two):
        placed = [
            rotate(x, turns(torch.tensor([[place]]), 8, 1e4))
            for x, place in ((query, one), (key, two))
        ]
        return (placed[0] * placed[1]).sum()

    torch.testing.assert_close(score(3, 5), score(13, 15))
    assert not torch.isclose(score(3, 5), score(3, 6))


def test_time_is_told_as_pi0_tells_it():
    told = encode_time(torch.tensor([0.25]), 4)[0]
    angles = 0.75 * 2 * torch.pi / torch.tensor([4e-3, 4.0], dtype=torch.float64)
    torch.testing.assert_close(told, torch.cat([angles.sin(), angles.cos()]).float())
    assert [widen(720), widen(1024), widen(16)] == [2048, 2816, 256]


# Knowledge insulation


def teach(config):
    policy = stir(build(config, backbone=BACKBONE))
    context = encode(policy, batch())
    mask = torch.ones(4, HORIZON, AXES)
    policy.head.loss(context, batch().actions, mask, generator=seeded()).sum().backward()
    return policy


def test_insulated_expert_teaches_the_language_model_nothing():
    policy = teach(ExpertConfig(width=32, mlp=64, insulate=True))
    assert all(p.grad is None or not p.grad.any() for p in policy.backbone.parameters())
    assert all(p.grad.any() for p in policy.head.parameters())
    control = teach(ExpertConfig(width=32, mlp=64))
    assert any(p.grad is not None and p.grad.any() for p in control.backbone.decoder.parameters())


def test_words_teach_it_exactly_what_they_would_alone():
    both, alone = teach(HEADS["insulated"]), teach(HEADS["words"])
    learned = {name: p.grad for name, p in both.backbone.named_parameters() if p.grad is not None}
    expected = {name: p.grad for name, p in alone.backbone.named_parameters() if p.grad is not None}
    assert learned.keys() == expected.keys()
    assert any(gradient.any() for gradient in learned.values())
    for name, gradient in learned.items():
        torch.testing.assert_close(gradient, expected[name])


def test_insulation_cannot_be_left_out_by_mistake():
    with pytest.raises(ConfigError, match="insulate"):
        InsulatedConfig(expert=ExpertConfig())


# Public weights with more axes


def test_spare_lanes_carry_noise_and_nothing_comes_of_them():
    wide = make_head(lanes=AXES + 2)
    context = make_context()
    noise = torch.randn(SIZE, HORIZON, AXES, generator=seeded(1))
    seen = []
    wide.head.denoiser.enter.register_forward_hook(lambda _, given, out: seen.append(given[0]))
    plan = wide.sample(context, noise[:, :1], noise)
    assert plan.shape == noise.shape
    assert torch.equal(plan[:, :1], noise[:, :1])
    assert seen[0].shape[-1] == AXES + 2
    assert seen[0][:, 1:, AXES:].std() > 0.5
    assert torch.equal(seen[0][0, 1:, AXES:], seen[0][1, 1:, AXES:]), "the same for every plan"
    mask = torch.ones_like(noise)
    loss = wide.loss(context, noise, mask, generator=seeded(2))
    loss.sum().backward()
    taught = wide.head.denoiser.leave.weight.grad.abs().sum(dim=1) > 0
    assert taught.tolist() == [True] * AXES + [False] * 2
    with pytest.raises(ConfigError, match="lanes"):
        make_head(lanes=AXES - 1)


# Refusals


def test_misfits_are_named():
    with pytest.raises(ConfigError, match="divide"):
        ExpertConfig(layers=3).build(shape=SHAPE, action_dim=AXES, horizon=HORIZON)
    stateless = ContextShape(dim=24, language=GEOMETRY)
    with pytest.raises(ConfigError, match="state"):
        ExpertConfig().build(shape=stateless, action_dim=AXES, horizon=HORIZON)
    for options in ({"width": -2}, {"width": 15}, {"joint_every": 0}, {"time": "late"}):
        with pytest.raises(ConfigError):
            ExpertConfig(**options)
    head, noise = make_head(), torch.zeros(SIZE, HORIZON, AXES)
    for missing in ("state", "prefix"):
        with pytest.raises(ShapeError, match=missing):
            head.sample(make_context(**{missing: None}), None, noise)


def test_rows_given_clean_have_a_time_of_their_own():
    """Training-time real-time chunking: the time may differ row by row."""
    for options in ({}, {"time": "norm"}):
        head = make_head(**options)
        context = head.denoiser.read(make_context())
        x = torch.randn(SIZE, HORIZON, AXES, generator=seeded(1))
        same = torch.full((SIZE, HORIZON), 0.5)
        torch.testing.assert_close(
            head.denoiser(x, same, context), head.denoiser(x, same[:, 0], context)
        )
        same[:, 0] = 1.0
        assert not torch.allclose(
            head.denoiser(x, same, context), head.denoiser(x, same[:, 1], context)
        )
