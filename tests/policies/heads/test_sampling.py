"""Real-time chunking, against a case that has a formula: Gaussian data."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from policies.heads.noising import Diffusion, Flow
from policies.heads.sampling import Seam, denoise, fade

HORIZON = 8
PROCESSES = {
    "flow": Flow(steps=10),
    "epsilon": Diffusion(train_steps=100, steps=10, prediction="epsilon"),
    "sample": Diffusion(train_steps=100, steps=10, prediction="sample"),
    "v_prediction": Diffusion(train_steps=100, steps=10, prediction="v_prediction"),
}


def covariance():
    """Neighbouring rows go together: correlation 0.9 to the power of their distance."""
    rows = np.arange(HORIZON)
    return 0.9 ** np.abs(rows[:, None] - rows[None, :])


def estimator(level):
    """The best guess of a from x = alpha a + sigma e is M x, for a ~ N(0, covariance)."""
    spread, alpha, sigma = covariance(), float(level.alpha), float(level.sigma)
    total = alpha**2 * spread + sigma**2 * np.eye(HORIZON)
    return alpha * spread @ np.linalg.inv(total)


def network(process):
    """Answers as the ideal network would; chunks have one axis."""
    levels = process.walk()[:-1]

    def answer(x, time):
        level = min(levels, key=lambda one: abs(one.time - time[0].item()))
        clean = torch.from_numpy(estimator(level)).to(x) @ x
        noise = (x - level.alpha * clean) / level.sigma
        return {
            "velocity": clean - noise,
            "epsilon": noise,
            "sample": clean,
            "v_prediction": level.alpha * noise - level.sigma * clean,
        }[process.prediction]

    return answer


def walk_by_formula(process, noise, wanted, weights, limit, *, jacobian=True):
    """The sampler with the derivative M written out; an identity instead as the control."""
    levels, x = process.walk(), noise
    for level, after in pairwise(levels):
        matrix, alpha, sigma = estimator(level), float(level.alpha), float(level.sigma)
        clean = matrix @ x
        pull = weights * (wanted - clean)
        if jacobian:
            pull = matrix.T @ pull
        power = (alpha**2 + sigma**2) / (alpha * sigma) if alpha > 0 else math.inf
        clean = clean + sigma * min(limit, power) * pull
        x = float(after.alpha) * clean + float(after.sigma) * (x - alpha * clean) / sigma
    return x


def make_rows(seed=0, samples=64):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(samples, HORIZON, 1))
    last = np.linalg.cholesky(covariance()) @ rng.normal(size=(samples, HORIZON, 1))
    return torch.from_numpy(noise), torch.from_numpy(last)


def guided(process, noise, last, *, committed=2, wanted=3, **options):
    pending = last[:, :committed] if committed else None
    tentative = last[:, committed : committed + wanted]
    return denoise(
        network(process), noise, pending, tentative, process=process, seam=Seam(**options)
    )


@pytest.mark.parametrize("kind", PROCESSES)
@pytest.mark.parametrize("mask", ["zeros", "ones", "linear", "exp"])
def test_guidance_agrees_with_the_formula(kind, mask):
    process, (noise, last) = PROCESSES[kind], make_rows()
    found = guided(process, noise, last, mask=mask)
    weights = np.array(fade(mask, 2, 3, HORIZON))[:, None]
    wanted = last.numpy() * (np.arange(HORIZON) < 5)[:, None]
    expected = walk_by_formula(process, noise.numpy(), wanted, weights, 5.0)
    np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=1e-8)
    assert torch.equal(found[:, :2], last[:, :2])
    control = walk_by_formula(process, noise.numpy(), wanted, weights, 5.0, jacobian=False)
    assert np.abs(control[:, 2:] - expected[:, 2:]).max() > 0.1, "the Jacobian was an identity"


@pytest.mark.parametrize("kind", PROCESSES)
def test_guided_plans_go_on_from_the_last_one(kind):
    """Rows behind the wanted ones come nearer to what these say of them than unguided ones."""
    process, (noise, last) = PROCESSES[kind], make_rows(samples=400)
    spread = covariance()
    expected = spread[5:, :5] @ np.linalg.inv(spread[:5, :5]) @ last[:, :5].numpy()

    def distance(plan):
        return np.square(plan[:, 5:].numpy() - expected).mean()

    with_pull = guided(process, noise, last, mask="ones")
    without = guided(process, noise, last, mask="ones", limit=0.0)
    free = denoise(network(process), noise, None, process=process, seam=Seam())
    # Even the best plan is off by what the wanted rows leave open.
    assert distance(with_pull) < 0.75 * distance(free)
    seam = (with_pull[:, 2:5] - last[:, 2:5]).square().mean()
    assert seam < 0.3 * (without[:, 2:5] - last[:, 2:5]).square().mean()


def test_guidance_needs_no_grad_from_its_caller():
    process, (noise, last) = PROCESSES["flow"], make_rows()
    plain = guided(process, noise, last)
    with torch.no_grad():
        assert torch.equal(guided(process, noise, last), plain)


def test_weights_fall_from_committed_rows_on():
    assert fade("linear", 2, 3, 8) == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0, 0, 0])
    exp = [c * (math.e**c - 1) / (math.e - 1) for c in (0.75, 0.5, 0.25)]
    assert fade("exp", 2, 3, 8) == pytest.approx([1, 1, *exp, 0, 0, 0])
    assert fade("ones", 2, 3, 8) == [1, 1, 1, 1, 1, 0, 0, 0]
    assert fade("zeros", 2, 3, 8) == [1, 1, 0, 0, 0, 0, 0, 0]
    assert fade("exp", 0, 8, 8) == sorted(fade("exp", 0, 8, 8), reverse=True)


def test_no_pull_without_a_limit_or_wanted_rows():
    process, (noise, last) = PROCESSES["flow"], make_rows()
    held = denoise(network(process), noise, last[:, :2], process=process, seam=Seam())
    torch.testing.assert_close(guided(process, noise, last, limit=0.0), held)
    torch.testing.assert_close(guided(process, noise, last, wanted=0), held)
