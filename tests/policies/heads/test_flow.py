import pytest
import torch

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import FlowConfig
from policies.heads.flow import integrate
from policies.heads.noising import Flow


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_head(**options):
    config = FlowConfig(width=16, layers=1, attention_heads=2, **options)
    return config.build(shape=ContextShape(dim=8), action_dim=2, horizon=3)


def make_context(size):
    mask = torch.ones(size, 2, dtype=torch.bool)
    return Context(tokens=torch.zeros(size, 2, 8), mask=mask, pooled=torch.zeros(size, 8))


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_straight_paths_are_integrated_exactly(steps):
    noise, chunk = torch.randn(2, 5, 3, 2, generator=seeded())
    reached = integrate(lambda x, time: chunk - noise, noise, None, steps=steps)
    torch.testing.assert_close(reached, chunk)


def test_linear_field_is_integrated_as_euler_does():
    noise = torch.randn(5, 3, 2, generator=seeded())
    times = []

    def field(x, time):
        times.append(time[0].item())
        return -2 * x

    reached = integrate(field, noise, None, steps=8)
    torch.testing.assert_close(reached, noise * (1 - 2 / 8) ** 8)
    assert times == [k / 8 for k in range(8)]


def test_perfect_field_of_one_point_reaches_it():
    """The velocity towards a fixed chunk, as the network sees it: (a - x) / (1 - t)."""
    noise, chunk = torch.randn(2, 5, 3, 2, generator=seeded())
    reached = integrate(
        lambda x, time: (chunk - x) / (1 - time.view(-1, 1, 1)), noise, None, steps=10
    )
    torch.testing.assert_close(reached, chunk)


def test_committed_rows_are_shown_on_their_path():
    noise, chunk = torch.randn(2, 5, 3, 2, generator=seeded())
    pending, seen = chunk[:, :2], []

    def field(x, time):
        seen.append(x.clone())
        return torch.zeros_like(x)

    reached = integrate(field, noise, pending, steps=4)
    for step, x in enumerate(seen):
        expected = step / 4 * pending + (1 - step / 4) * noise[:, :2]
        torch.testing.assert_close(x[:, :2], expected)
        torch.testing.assert_close(x[:, 2:], noise[:, 2:])
    assert torch.equal(reached[:, :2], pending)


def test_untrained_head_predicts_no_motion():
    """The last layer starts at zero, so the chunk is the noise and the loss E|a - e|^2."""
    head, noise = make_head(draws=1), torch.randn(5, 3, 2, generator=seeded())
    torch.testing.assert_close(head.sample(make_context(5), None, noise), noise)
    actions = torch.randn(5, 3, 2, generator=seeded(1))
    loss = head.loss(make_context(5), actions, torch.ones(5, 3, 2), generator=seeded(2))
    drawn = torch.randn(5, 3, 2, generator=seeded(2))
    torch.testing.assert_close(loss, (actions - drawn).square().mean(dim=(1, 2)))


@pytest.mark.parametrize(("sampling", "mean"), [("uniform", 0.5), ("beta", 0.4)])
def test_times_are_drawn_as_asked(sampling, mean):
    times = Flow(steps=1, time_sampling=sampling).draw(20000, seeded()).time
    assert times.min() >= 0
    assert times.max() <= 1
    assert times.mean().item() == pytest.approx(mean, abs=0.01)  # Beta(1, 1.5) has 0.4


def test_more_draws_give_a_steadier_loss():
    def spread(draws):
        head, losses = make_head(draws=draws), []
        actions, mask = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
        for seed in range(200):
            losses.append(head.loss(make_context(1), actions, mask, generator=seeded(seed)))
        return torch.cat(losses).var().item()

    assert spread(8) < spread(1) / 4
