import pytest
import torch
from diffusers import DDIMScheduler
from policies.heads.diffusion import denoise

from policies.backbones.interface import ContextShape
from policies.heads.config import PREDICTIONS, DiffusionConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_config(**options):
    return DiffusionConfig(width=16, layers=1, attention_heads=2, **options)


def make_head(**options):
    return make_config(**options).build(shape=ContextShape(dim=8), action_dim=2, horizon=3)


def perfect(head, chunk):
    """What an ideal network answers when the data are `chunk` alone."""
    schedule = head.schedule

    def predict(x, step):
        alpha = schedule.alphas_cumprod[step]
        noise = (x - alpha.sqrt() * chunk) / (1 - alpha).sqrt()
        return head._target(chunk, noise, step.expand(len(x)))

    return predict


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 5, 100])
def test_perfect_network_finds_the_chunk(prediction, steps):
    head = make_head(prediction=prediction, steps=steps)
    noise, chunk = torch.randn(2, 4, 3, 2, generator=seeded())
    chunk = chunk.clamp(-1, 1)
    found = denoise(perfect(head, chunk), noise, None, config=head.config)
    torch.testing.assert_close(found, chunk, atol=2e-3, rtol=0)


def test_sampler_takes_the_steps_of_diffusers():
    """Step by step against the published formula of DDIM (eq. 12, eta = 0)."""
    config = make_config(steps=10, clip=0.0)
    noise = torch.randn(4, 3, 2, generator=seeded())
    reference = DDIMScheduler(num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    alphas = reference.alphas_cumprod
    visited = []

    def predict(x, step):
        visited.append(int(step))
        return torch.tanh(x)

    found = denoise(predict, noise, None, config=config)
    assert visited == list(range(99, 0, -10))
    x = noise
    for step in visited:
        before = alphas[step - 10] if step >= 10 else torch.tensor(1.0)
        guess = torch.tanh(x)
        clean = (x - (1 - alphas[step]).sqrt() * guess) / alphas[step].sqrt()
        x = before.sqrt() * clean + (1 - before).sqrt() * guess
    torch.testing.assert_close(found, x)


def test_sampling_needs_no_other_randomness():
    config, noise = make_config(), torch.randn(4, 3, 2, generator=seeded())
    first = denoise(lambda x, step: torch.tanh(x), noise, None, config=config)
    torch.manual_seed(7)
    assert torch.equal(first, denoise(lambda x, step: torch.tanh(x), noise, None, config=config))


def test_clean_chunk_is_bounded():
    config = make_config(prediction="sample", clip=1.5)
    noise = torch.randn(4, 3, 2, generator=seeded())
    found = denoise(lambda x, step: torch.full_like(x, 9.0), noise, None, config=config)
    torch.testing.assert_close(found, torch.full_like(found, 1.5))


def test_committed_rows_are_shown_at_the_noise_of_the_step():
    config = make_config(prediction="sample")
    head = config.build(shape=ContextShape(dim=8), action_dim=2, horizon=3)
    noise, chunk = torch.randn(2, 4, 3, 2, generator=seeded())
    pending = chunk[:, :2]

    def predict(x, step):
        alpha = head.schedule.alphas_cumprod[step]
        expected = alpha.sqrt() * pending + (1 - alpha).sqrt() * noise[:, :2]
        torch.testing.assert_close(x[:, :2], expected)
        return torch.zeros_like(x)

    assert torch.equal(denoise(predict, noise, pending, config=config)[:, :2], pending)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_network_that_knows_has_no_loss(prediction, monkeypatch):
    """Loss and sampler agree on what is predicted."""
    from policies.backbones.interface import Context

    head = make_head(prediction=prediction, draws=2)
    chunk = torch.randn(4, 3, 2, generator=seeded())
    alphas = head.schedule.alphas_cumprod

    def know(noisy, steps, context):
        alpha = alphas[steps].view(-1, 1, 1)
        clean = chunk.repeat_interleave(2, dim=0)
        return head._target(clean, (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt(), steps)

    monkeypatch.setattr(head, "_denoise", know)
    context = Context(
        tokens=torch.zeros(4, 1, 8),
        mask=torch.ones(4, 1, dtype=torch.bool),
        pooled=torch.zeros(4, 8),
    )
    loss = head.loss(context, chunk, torch.ones(4, 3, 2), generator=seeded())
    assert (loss < 1e-6).all()
