"""Noise put on chunks and taken off again: flow matching and diffusion as one family.

Both mix a chunk a with standard normal noise e, x = alpha a + sigma e, ask the network for
some combination of the two, and walk from pure noise to the chunk. They differ in the path
(alpha, sigma) and in what is asked for:

    flow        alpha = t, sigma = 1 - t                the velocity a - e
    diffusion   alpha^2 = prod (1 - beta), sigma^2 = 1 - alpha^2    e, a, or alpha e - sigma a

Whatever is asked for, with x it gives both a and e, and a deterministic step to the next level
is x' = alpha' a + sigma' e. On the straight path that is Euler's step, on the other it is DDIM
(Song et al., arXiv 2010.02502, eq. 12 with eta = 0).
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_BETA = 1.5  # pi0: Beta(1.5, 1), on the time to go


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How noisy a chunk is: x = alpha a + sigma e; `time` is what the network is told.

    Plain numbers while sampling; for B drawn levels tensors, `time` (B,) or, one per row,
    (B, H), `alpha` and `sigma` (B, 1, 1) or (B, H, 1).
    """

    time: Tensor | float
    alpha: Tensor | float
    sigma: Tensor | float

    def mix(self, actions: Tensor, noise: Tensor) -> Tensor:
        """Noisy rows (B, H, A)."""
        return self.alpha * actions + self.sigma * noise


class Process(Protocol):
    """A path from noise to chunks.

    Attributes:
        prediction: what the network is asked for: "velocity", "epsilon" (the noise), "sample"
            (the chunk) or "v_prediction" (Salimans & Ho, arXiv 2202.00512).
        clean: the time of a row without noise.
    """

    prediction: str
    clean: float

    def draw(self, size: int, generator: torch.Generator) -> Level:
        """Levels (B,) to train at, on the generator's device."""
        ...

    def walk(self) -> list[Level]:
        """Levels of sampling: the first is the noisiest, the last has no noise."""
        ...


class Flow:
    """Flow matching (Lipman et al., arXiv 2210.02747): a straight path, t from 0 to 1."""

    prediction = "velocity"
    clean = 1.0

    def __init__(self, *, steps: int, time_sampling: str = "uniform"):
        """`time_sampling`: "uniform", or "beta" for more of the noisy end (pi0)."""
        self.steps, self.time_sampling = steps, time_sampling

    def draw(self, size: int, generator: torch.Generator) -> Level:
        """Times (B,) in [0, 1); "beta": Beta(1, 1.5), more of them near the noise."""
        time = torch.rand(size, generator=generator, device=generator.device)
        if self.time_sampling == "beta":
            time = 1 - time ** (1 / _BETA)  # by the inverse distribution function
        alpha = time.view(-1, 1, 1)
        return Level(time=time, alpha=alpha, sigma=1 - alpha)

    def walk(self) -> list[Level]:
        """Equal steps."""
        times = [step / self.steps for step in range(self.steps + 1)]
        return [Level(time=time, alpha=time, sigma=1 - time) for time in times]


class Diffusion:
    """DDPM's training levels on the squared-cosine schedule (Nichol & Dhariwal, 2102.09672)."""

    def __init__(self, *, train_steps: int, steps: int, prediction: str, spacing: str = "trailing"):
        """`train_steps` levels to train at, `steps` of them to sample by; `spacing`: see `walk`."""
        self.train_steps, self.steps, self.prediction = train_steps, steps, prediction
        self.spacing = spacing
        self.clean = -1 / train_steps
        kept, alphas = 1.0, []
        for step in range(train_steps):
            # beta = 1 - f((i + 1) / N) / f(i / N), at most 0.999
            before, after = (_cosine((step + k) / train_steps) for k in (0, 1))
            kept *= max(after / before, 1e-3)
            alphas.append(kept)
        self.alphas = tuple(math.sqrt(kept) for kept in alphas)
        self.sigmas = tuple(math.sqrt(1 - kept) for kept in alphas)

    def draw(self, size: int, generator: torch.Generator) -> Level:
        """Uniform over the training levels; time is their number over how many there are."""
        device = generator.device
        steps = torch.randint(self.train_steps, (size,), generator=generator, device=device)
        alpha, sigma = (
            torch.tensor(values, device=device)[steps].view(-1, 1, 1)
            for values in (self.alphas, self.sigmas)
        )
        return Level(time=steps / self.train_steps, alpha=alpha, sigma=sigma)

    def walk(self) -> list[Level]:
        """Steps that "trail": the first is the noisiest, where training saw almost pure noise.

        With spacing="leading" they are the multiples of train_steps // steps, down to 0 (guided
        diffusion's "ddim10", by which CogACT samples): its noise is not quite as strong as that
        it is said to be.
        """
        if self.spacing == "leading":
            stride = self.train_steps // self.steps
            numbers = [stride * k for k in reversed(range(self.steps))]
        else:
            numbers = [
                round(self.train_steps * (1 - k / self.steps)) - 1 for k in range(self.steps)
            ]
        levels = [
            Level(time=n / self.train_steps, alpha=self.alphas[n], sigma=self.sigmas[n])
            for n in numbers
        ]
        return [*levels, Level(time=self.clean, alpha=1.0, sigma=0.0)]


def target(prediction: str, actions: Tensor, noise: Tensor, level: Level) -> Tensor:
    """What the network should answer: (B, H, A)."""
    if prediction == "velocity":
        return actions - noise
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return actions
    return level.alpha * noise - level.sigma * actions


def split(prediction: str, answer: Tensor, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    """The chunk and the noise in `x` (B, H, A), by the network's answer (B, H, A)."""
    if prediction == "velocity":
        return x + level.sigma * answer, x - level.alpha * answer
    if prediction == "epsilon":
        return (x - level.sigma * answer) / level.alpha, answer
    if prediction == "sample":
        return answer, (x - level.alpha * answer) / level.sigma
    return level.alpha * x - level.sigma * answer, level.alpha * answer + level.sigma * x


def _cosine(share: float) -> float:
    return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2
