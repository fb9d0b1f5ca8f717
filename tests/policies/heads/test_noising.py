import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler

from policies.heads.config import PREDICTIONS
from policies.heads.noising import Diffusion, Flow, Level, split, target
from policies.heads.sampling import Seam, denoise


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_diffusion(*, steps=10, prediction="epsilon", train_steps=100):
    return Diffusion(train_steps=train_steps, steps=steps, prediction=prediction)


@pytest.mark.parametrize("prediction", ["velocity", *PREDICTIONS])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_split_undoes_mix(prediction, alpha):
    actions, noise = torch.randn(2, 4, 3, 2, generator=seeded())
    straight = prediction == "velocity"
    sigma = 1 - alpha if straight else (1 - alpha**2) ** 0.5
    level = Level(time=0.0, alpha=alpha, sigma=sigma)
    answer = target(prediction, actions, noise, level)
    clean, left = split(prediction, answer, level.mix(actions, noise), level)
    torch.testing.assert_close(clean, actions, atol=1e-5, rtol=0)
    torch.testing.assert_close(left, noise, atol=1e-5, rtol=0)


def test_levels_are_those_of_diffusers():
    process = make_diffusion()
    reference = DDPMScheduler(num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    mine = torch.tensor(process.alphas) ** 2
    torch.testing.assert_close(mine, reference.alphas_cumprod, atol=1e-6, rtol=1e-4)
    level = process.draw(500, seeded())
    steps = (level.time * 100).round().long()
    assert steps.min() == 0
    assert steps.max() == 99
    actions, noise = torch.randn(2, 500, 3, 2, generator=seeded(1))
    mixed = reference.add_noise(actions, noise, steps)
    torch.testing.assert_close(level.mix(actions, noise), mixed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("steps", "clip"), [(1, 1.5), (10, 0.0), (10, 1.5), (100, 1.0)])
def test_sampler_agrees_with_ddim_of_diffusers(prediction, steps, clip):
    reference = DDIMScheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        clip_sample=clip > 0,
        clip_sample_range=clip,
        timestep_spacing="trailing",
    )
    reference.set_timesteps(steps)
    noise = torch.randn(4, 3, 2, generator=seeded())
    visited = []

    def predict(x, time):
        visited.append(round(time[0].item() * 100))
        return torch.tanh(x) * 0.5 + time.view(-1, 1, 1)

    process = make_diffusion(steps=steps, prediction=prediction)
    found = denoise(predict, noise, None, process=process, seam=Seam(), clip=clip)
    assert visited == reference.timesteps.tolist()
    x = noise
    for step in reference.timesteps:
        answer = torch.tanh(x) * 0.5 + step / 100
        x = reference.step(answer, step, x, eta=0.0).prev_sample
    scale = x.abs().max().clamp(min=1)  # unclipped samples grow by 1 / alpha, about 1e2
    torch.testing.assert_close(found / scale, x / scale, atol=1e-5, rtol=0)


def test_sampler_agrees_with_flow_matching_of_diffusers():
    """Diffusers counts sigma = 1 - t down and asks for e - a, the negative velocity."""
    reference = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    reference.set_timesteps(sigmas=[1 - k / 10 for k in range(10)])
    noise = torch.randn(4, 3, 2, generator=seeded())
    found = denoise(
        lambda x, time: torch.tanh(x) + time.view(-1, 1, 1),
        noise,
        None,
        process=Flow(steps=10),
        seam=Seam(),
    )
    x = noise
    for step in reference.timesteps:
        answer = -(torch.tanh(x) + 1 - step / 1000)
        x = reference.step(answer, step, x).prev_sample
    torch.testing.assert_close(found, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [1, 7, 100])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_perfect_network_finds_the_chunk(prediction, steps):
    noise, chunk = torch.randn(2, 4, 3, 2, generator=seeded())
    process = make_diffusion(steps=steps, prediction=prediction)

    def predict(x, time):
        number = round(time[0].item() * 100)
        level = Level(time=0.0, alpha=process.alphas[number], sigma=process.sigmas[number])
        return target(prediction, chunk, (x - level.alpha * chunk) / level.sigma, level)

    found = denoise(predict, noise, None, process=process, seam=Seam())
    torch.testing.assert_close(found, chunk, atol=2e-3, rtol=0)


def test_committed_rows_are_shown_at_the_noise_of_the_step():
    noise, chunk = torch.randn(2, 4, 3, 2, generator=seeded())
    pending, process = chunk[:, :2], make_diffusion(prediction="sample")

    def predict(x, time):
        number = round(time[0].item() * 100)
        expected = process.alphas[number] * pending + process.sigmas[number] * noise[:, :2]
        torch.testing.assert_close(x[:, :2], expected)
        return torch.zeros_like(x)

    found = denoise(predict, noise, pending, process=process, seam=Seam())
    assert torch.equal(found[:, :2], pending)
