"""Heads with a code of whole chunks (cvae, vq), and what several modes do to each head."""

import pytest
import torch

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import FlowConfig, RegressionConfig
from policies.heads.config_denoisers import DitConfig
from policies.heads.config_latent import CvaeConfig, VqConfig
from vla.errors import ConfigError

SMALL = {"width": 32, "layers": 1, "attention_heads": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_context(size, seed=0):
    tokens = torch.randn(size, 2, 8, generator=seeded(seed))
    mask = torch.ones(size, 2, dtype=torch.bool)
    return Context(tokens=tokens, mask=mask, pooled=tokens.mean(dim=1))


def make(config, *, axes=2, horizon=3):
    torch.manual_seed(0)
    return config.build(shape=ContextShape(dim=8), action_dim=axes, horizon=horizon)


def test_cvae_loss_is_l1_and_divergence():
    head, context = make(CvaeConfig(**SMALL)), make_context(4)
    actions = torch.randn(4, 3, 2, generator=seeded(1))
    mask = torch.ones_like(actions)
    with torch.no_grad():
        mean, log_variance = head._encode(context, actions, mask)
        latent = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        plain = torch.distributions.Normal(0.0, 1.0)
        divergence = torch.distributions.kl_divergence(latent, plain).sum(dim=1)
        z = mean + latent.scale * torch.randn(mean.shape, generator=seeded(2))
        expected = (head._decode(context, z) - actions).abs().mean(dim=(1, 2)) + 10 * divergence
        loss = head.loss(context, actions, mask, generator=seeded(2))
    torch.testing.assert_close(loss, expected)


def test_cvae_plans_with_the_middle_of_the_latent():
    head, context = make(CvaeConfig(**SMALL)), make_context(4)
    noise = torch.randn(4, 3, 2, generator=seeded(1))
    plan = head.sample(context, None, noise)
    torch.testing.assert_close(plan, head._decode(context, torch.zeros(4, 32)))
    assert torch.equal(head.sample(context, None, -noise, tentative=noise), plan)


def test_vq_draws_codes_as_likely_as_told():
    head = make(VqConfig(**SMALL, levels=1, codes=3))
    chances = torch.tensor([0.2, 0.5, 0.3])
    with torch.no_grad():
        head.choose.weight.zero_()
        head.choose.bias.copy_(chances.log())
        for parameter in head.offset[2].parameters():
            parameter.zero_()
        plans = head.sample(make_context(3000), None, torch.randn(3000, 3, 2, generator=seeded()))
        known = head.quantizer.restore(head.quantizer.books[0])
    codes = torch.cdist(plans.flatten(1), known.flatten(1)).argmin(dim=1)
    drawn = torch.bincount(codes, minlength=3) / 3000
    torch.testing.assert_close(drawn, chances, atol=0.04, rtol=0)


def test_vq_levels_are_drawn_from_the_noise():
    with pytest.raises(ConfigError, match="above the 6 numbers"):
        make(VqConfig(**SMALL, levels=7))


def train(config, actions, steps):
    """On one context, for which every chunk of `actions` (N, H, A) was demonstrated."""
    head = make(config, axes=actions.shape[2], horizon=actions.shape[1])
    context = make_context(1).repeat(len(actions))
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    mask = torch.ones_like(actions)
    for step in range(steps):
        loss = head.loss(context, actions, mask, generator=seeded(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise = torch.randn(64, *actions.shape[1:], generator=seeded(99))
    with torch.no_grad():
        return head.sample(make_context(1).repeat(64), None, noise)


MODES = {
    "regression": (RegressionConfig(width=32, layers=1, smooth=0.5), 100),
    "cvae": (CvaeConfig(**SMALL), 100),
    "flow": (FlowConfig(**SMALL), 250),
    "dit": (DitConfig(**SMALL, forget=0.0, guidance=1.0, clip=1.5), 250),
    "vq": (VqConfig(**SMALL, codes=4), 150),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODES)
def test_only_generative_heads_keep_two_modes(kind):
    """Demonstrations pass an obstacle left or right; the control has one way only."""
    config, steps = MODES[kind]
    ways = torch.tensor([-1.0, 1.0]).repeat(16).view(-1, 1, 1).expand(32, 4, 1)
    noisy = ways + 0.05 * torch.randn(32, 4, 1, generator=seeded(5))
    plans = train(config, noisy, steps)
    nearest = (plans.abs() - 1).abs().mean(dim=(1, 2))
    if kind in ("regression", "cvae"):
        assert plans.abs().mean() < 0.5, "the median of two modes lies between them"
    else:
        assert (nearest < 0.3).float().mean() > 0.85
        left = (plans.mean(dim=(1, 2)) < 0).float().mean()
        assert 0.2 < left < 0.8
    control = train(config, noisy.abs(), steps)
    assert (control - 1).abs().mean() < 0.25
