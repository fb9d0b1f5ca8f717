import pytest
import torch

from policies.backbones.interface import Context
from policies.heads.config import FlowConfig
from policies.heads.denoiser import Denoiser, encode_time


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    config = FlowConfig(width=16, layers=2, attention_heads=2)
    return Denoiser(config, context_dim=8, action_dim=2, horizon=3)


def make_context(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Context(
        tokens=torch.randn(4, 5, 8, generator=generator),
        mask=torch.ones(4, 5, dtype=torch.bool),
        pooled=torch.randn(4, 8, generator=generator),
    )


def test_starts_at_zero(denoiser):
    x = torch.randn(4, 3, 2)
    assert not denoiser(x, torch.rand(4), make_context()).any()


def test_answers_to_all_it_is_given(denoiser):
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.normal_(std=0.3)
    x, time, context = torch.randn(4, 3, 2), torch.full((4,), 0.3), make_context()
    plain = denoiser(x, time, context)
    others = {
        "time": denoiser(x, time + 0.1, context),
        "tokens": denoiser(
            x, time, Context(tokens=-context.tokens, mask=context.mask, pooled=context.pooled)
        ),
        "pooled": denoiser(
            x, time, Context(tokens=context.tokens, mask=context.mask, pooled=-context.pooled)
        ),
    }
    for what, other in others.items():
        assert not torch.allclose(plain, other), what
    later = x.clone()
    later[:, 2] += 1
    moved = denoiser(later, time, context)
    assert not torch.allclose(moved[:, 0], plain[:, 0]), "an early row does not see a later one"


def test_rows_may_have_times_of_their_own(denoiser):
    """Equal times are one time; another time for one row is noticed by it."""
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.normal_(std=0.3)
    x, time, context = torch.randn(4, 3, 2), torch.rand(4), make_context()
    plain = denoiser(x, time, context)
    each = time.unsqueeze(1).repeat(1, 3)
    torch.testing.assert_close(denoiser(x, each, context), plain)
    each[:, 0] = 1.0
    assert not torch.allclose(denoiser(x, each, context)[:, 0], plain[:, 0])


def test_times_are_told_apart():
    codes = encode_time(torch.linspace(0, 1, 101), 32)
    distance = torch.cdist(codes, codes) + 10 * torch.eye(101)
    assert distance.min() > 0.1
