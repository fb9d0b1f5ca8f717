"""What all denoising heads share: several draws, clean first rows, guided plans."""

import pytest
import torch

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import DdpmConfig, DenoisingConfig, FlowConfig
from policies.heads.config_denoisers import DitConfig, ReadoutConfig, UnetConfig
from tests.policies.samples import HEADS, HORIZON, stir
from vla.errors import ConfigError

DENOISING = sorted(kind for kind, config in HEADS.items() if isinstance(config, DenoisingConfig))
SMALL = {
    "flow": lambda **o: FlowConfig(width=16, layers=1, attention_heads=2, **o),
    "dit": lambda **o: DitConfig(width=16, layers=1, attention_heads=2, forget=0, guidance=1, **o),
    "unet": lambda **o: UnetConfig(widths=[8, 16], time_width=16, **o),
    "readout": lambda **o: ReadoutConfig(width=16, layers=1, **o),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def make_context(size=4, dim=8):
    mask = torch.ones(size, 3, dtype=torch.bool)
    tokens, pooled = numbers(size, 3, dim), numbers(size, dim, seed=1)
    return Context(tokens=tokens, mask=mask, pooled=pooled)


def make(config, *, horizon=HORIZON):
    torch.manual_seed(0)
    return stir(config.build(shape=ContextShape(dim=8), action_dim=2, horizon=horizon))


@pytest.mark.parametrize("kind", DENOISING)
def test_untrained_networks_answer_zero(kind):
    head = HEADS[kind].build(shape=ContextShape(dim=8), action_dim=2, horizon=HORIZON)
    assert not head.denoiser(numbers(4, HORIZON, 2), torch.rand(4), make_context()).any()


@pytest.mark.parametrize("kind", DENOISING)
def test_tentative_rows_pull(kind):
    """They change the plan, in inference mode too; the committed rows stay as they are."""
    head = make(HEADS[kind])
    pending, tentative = numbers(4, 1, 2, seed=3), numbers(4, 2, 2, seed=4)
    with torch.inference_mode():
        context, noise = make_context(), numbers(4, HORIZON, 2, seed=2)
        free = head.sample(context, pending, noise)
        pulled = head.sample(context, pending, noise, tentative=tentative)
        alone = head.sample(context, None, noise, tentative=tentative)
    assert torch.equal(pulled[:, :1], pending)
    assert not torch.allclose(pulled[:, 1:], free[:, 1:])
    assert not torch.allclose(alone, pulled)
    assert all(p.grad is None for p in head.parameters())
    outside = head.sample(make_context(), pending, noise.clone(), tentative=tentative)
    torch.testing.assert_close(outside, pulled)


@pytest.mark.parametrize("kind", DENOISING)
def test_guided_batch_equals_singles(kind):
    head, context = make(HEADS[kind]), make_context()
    noise, tentative = numbers(4, HORIZON, 2, seed=2), numbers(4, 2, 2, seed=4)
    together = head.sample(context, None, noise, tentative=tentative)
    one = Context(tokens=context.tokens[:1], mask=context.mask[:1], pooled=context.pooled[:1])
    alone = head.sample(one, None, noise[:1], tentative=tentative[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)


def test_repeated_draws_reduce_the_gradient_variance():
    """About 1 / k, at one encoding (CogACT)."""

    def spread(draws):
        head = make(SMALL["dit"](draws=draws))
        actions, mask = numbers(1, HORIZON, 2), torch.ones(1, HORIZON, 2)
        context, gradients = make_context(1), []
        for seed in range(100):
            head.zero_grad()
            head.loss(context, actions, mask, generator=seeded(seed)).sum().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in head.parameters()]))
        return torch.stack(gradients).var(dim=0).sum().item()

    assert 0.08 < spread(8) / spread(1) < 0.2


@pytest.mark.parametrize("kind", SMALL)
def test_first_rows_are_given_clean(kind):
    """In training: 0 to `delay` rows without noise, each time as often, not in the loss."""
    head, seen = make(SMALL[kind](delay=2, draws=1)), {}
    head.denoiser.register_forward_hook(lambda module, given, answer: seen.update(given=given))
    actions = numbers(600, HORIZON, 2)
    mask = torch.ones_like(actions)
    context = make_context(600)
    losses = head.loss(context, actions, mask, generator=seeded())
    x, time, _ = seen["given"]
    clean = time == head.process.clean
    torch.testing.assert_close(x[clean], actions[clean])
    counts = torch.bincount(clean.sum(dim=1), minlength=3) / 600
    torch.testing.assert_close(counts, torch.full((3,), 1 / 3), atol=0.06, rtol=0)
    assert (clean[:, 1] <= clean[:, 0]).all(), "only first rows"
    # A sample whose planned rows are all padding costs nothing, given ones or not.
    mask[:, 2:] = 0
    short = head.loss(context, actions, mask, generator=seeded())
    assert (short[clean[:, 1]] == 0).all()
    assert (short[~clean[:, 0]] > 0).all()
    assert losses.isfinite().all()


@pytest.mark.parametrize("kind", SMALL)
def test_committed_rows_are_given_clean_when_trained_so(kind):
    head, seen = make(SMALL[kind](delay=2)), []
    head.denoiser.register_forward_hook(lambda module, given, answer: seen.append(given))
    pending, noise = numbers(4, 2, 2, seed=3), numbers(4, HORIZON, 2, seed=2)
    plan = head.sample(make_context(), pending, noise)
    assert torch.equal(plan[:, :2], pending)
    for x, time, _ in seen:
        assert torch.equal(x[:, :2], pending)
        assert (time[:, :2] == head.process.clean).all()
        assert (time[:, 2:] != head.process.clean).all()
    free = head.sample(make_context(), None, noise)
    assert not torch.allclose(free[:, 2:], plan[:, 2:])


def test_trained_prefix_is_learned():
    """Two ways to do it, told apart by the first row alone: the rest must follow."""
    config = FlowConfig(width=32, layers=2, attention_heads=2, delay=1, steps=5)
    torch.manual_seed(0)
    head = config.build(shape=ContextShape(dim=8), action_dim=1, horizon=4)
    way = torch.tensor([-1.0, 1.0]).repeat(16).view(-1, 1, 1).expand(32, 4, 1)
    zeros = torch.zeros(32, 1, 8)
    context = Context(tokens=zeros, mask=torch.ones(32, 1, dtype=torch.bool), pooled=zeros[:, 0])
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for step in range(200):
        loss = head.loss(context, way, torch.ones_like(way), generator=seeded(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    plan = head.sample(context, way[:, :1], numbers(32, 4, 1))
    assert (plan * way > 0).all()
    assert (plan - way).abs().mean() < 0.1


def test_delay_must_leave_rows():
    with pytest.raises(ConfigError, match="at most 3"):
        make(SMALL["flow"](delay=4))
    with pytest.raises(ConfigError, match="delay is negative"):
        FlowConfig(delay=-1)
    with pytest.raises(ConfigError, match="pull is negative"):
        DdpmConfig(pull=-1.0)


def test_dit_guidance_of_one_is_the_network_itself():
    head, context = make(HEADS["dit"]), make_context()
    x, time = numbers(4, HORIZON, 2), torch.rand(4)
    knowing = head.denoiser(x, time, context)
    nothing = torch.ones(4, dtype=torch.bool)
    guessing = head.denoiser(x, time, head._without(context, nothing))
    assert not torch.allclose(knowing, guessing)
    head.scale = 1.0
    assert torch.equal(head._answer(x, time, context), knowing)
    head.scale = 3.0
    torch.testing.assert_close(head._answer(x, time, context), 3 * knowing - 2 * guessing)


def test_dit_forgets_as_often_as_asked():
    head, context = make(DitConfig(width=16, layers=1, attention_heads=2)), make_context(2000)
    read = head._prepare(context, seeded()).pooled
    forgotten = (read == head.unconditional).all(dim=1)
    assert forgotten.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(read[~forgotten], context.pooled[~forgotten])
    with pytest.raises(ConfigError, match="forget above 0"):
        DitConfig(forget=0.0)


@pytest.mark.parametrize("kind", ["dit", "unet", "readout"])
def test_readouts_are_read_when_asked_for(kind):
    config = SMALL[kind](readouts=2)
    assert config.count_readouts(action_dim=2, horizon=HORIZON) == 2
    head, context = make(config), make_context()
    x, time = numbers(4, HORIZON, 2), torch.rand(4)

    def answer(readouts, pooled):
        seen = Context(tokens=context.tokens, mask=context.mask, pooled=pooled, readouts=readouts)
        return head.denoiser(x, time, seen)

    readouts, pooled = numbers(4, 2, 8, seed=5), context.pooled
    plain = answer(readouts, pooled)
    assert torch.equal(answer(readouts, -pooled), plain)
    assert not torch.allclose(answer(-readouts, pooled), plain)


@pytest.mark.parametrize("horizon", [1, 5, 8])
def test_unet_takes_any_horizon(horizon):
    head = make(UnetConfig(widths=[8, 16, 16], time_width=16, steps=2), horizon=horizon)
    noise = numbers(4, horizon, 2)
    assert head.sample(make_context(), None, noise).shape == noise.shape


@pytest.mark.slow
def test_unet_is_that_of_diffusion_policy():
    """With LeRobot's weights put in, in their order, and its own code of the time."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionConditionalUnet1d

    torch.manual_seed(0)
    action = PolicyFeature(type=FeatureType.ACTION, shape=(2,))
    settings = DiffusionConfig(
        output_features={"action": action},
        horizon=8,
        down_dims=(16, 32, 64),
        diffusion_step_embed_dim=16,
        use_film_scale_modulation=True,
    )
    theirs = DiffusionConditionalUnet1d(settings, global_cond_dim=8)
    head = make(UnetConfig(widths=[16, 32, 64], time_width=16), horizon=8)
    pairs = {
        "clock": "diffusion_step_encoder.", "down": "down_modules.", "middle": "mid_modules.",
        "up": "up_modules.", "leave": "final_conv.",
    }  # fmt: skip
    weights = theirs.state_dict()
    steps = {key: value for key, value in weights.items() if key.split(".")[2:3] == ["2"]}
    moved = {**{k: v for k, v in weights.items() if k not in steps or "_modules" not in k}}
    for mine, prefix in pairs.items():
        part = getattr(head.denoiser, mine)
        values = [value for key, value in moved.items() if key.startswith(prefix)]
        names = list(part.state_dict())
        part.load_state_dict(dict(zip(names, values, strict=True)))
    for mine, prefix in (("shrink", "down_modules."), ("grow", "up_modules.")):
        part = getattr(head.denoiser, mine)
        values = [v for k, v in steps.items() if k.startswith(prefix)]
        part.load_state_dict(dict(zip(part.state_dict(), values, strict=True)))
    x, context = numbers(4, 8, 2), make_context()
    time = torch.tensor([0, 5, 50, 99])
    theirs.diffusion_step_encoder[0].forward = lambda t: head_time(t / 100)
    from policies.heads.denoiser import encode_time

    def head_time(t):
        return encode_time(t, 16)

    with torch.no_grad():
        expected = theirs(x, time, global_cond=context.pooled)
        torch.testing.assert_close(
            head.denoiser(x, time / 100, context), expected, atol=1e-5, rtol=1e-5
        )
