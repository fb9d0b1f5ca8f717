"""The property that matters most: the policy learns quickly to do what the words say.

Coloured squares lie on a grey ground; the text names one, and the right action is the way
from the hand (the state) to it. Without the words the answer cannot be known.
"""

import numpy as np
import pytest
import torch

from policies.backbones.config import TinyConfig
from policies.config import VlaPolicyConfig
from policies.heads.config import RegressionConfig
from tests.policies.samples import vector_statistics
from vla.data.batch import Batch
from vla.data.stats import Statistics
from vla.embodiment import Axis, Camera, Embodiment

SIZE, STEPS = 32, 250
COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 220)}
AXES = tuple(Axis(name=name, unit="m", low=-2, high=2) for name in ("x", "y"))
BODY = Embodiment(
    name="pointer",
    state=AXES,
    action=AXES,
    cameras={"front": Camera(height=SIZE, width=SIZE)},
    hz=10.0,
)


def make_batch(rng, size=64, *, named=True):
    images = np.full((size, 1, SIZE, SIZE, 3), 110, np.uint8)
    images += rng.integers(0, 20, images.shape, dtype=np.uint8)
    places, texts = np.zeros((size, 2), np.float32), []
    for row in range(size):
        cells = rng.choice(36, len(COLOURS), replace=False)  # a 6 x 6 grid: no overlaps
        names = rng.permutation(list(COLOURS))
        for name, cell in zip(names, cells, strict=True):
            u, v = 1 + 5 * (cell % 6), 1 + 5 * (cell // 6)
            images[row, 0, v : v + 4, u : u + 4] = COLOURS[name]
        places[row] = (1 + 5 * (cells[0] % 6) + 2, 1 + 5 * (cells[0] // 6) + 2)
        texts.append(f"go to the {names[0]} square" if named else "go")
    target = places * (2 / SIZE) - 1
    hand = rng.uniform(-0.8, 0.8, (size, 2)).astype(np.float32)
    return Batch(
        images={"front": torch.from_numpy(images)},
        state=torch.from_numpy(hand[:, None]),
        instruction=texts,
        actions=torch.from_numpy((target - hand)[:, None]),
        mask=torch.ones(size, 1, 2),
        labels={"target": torch.from_numpy(target)},
    )


def train(*, named):
    """Mean L1 error of the action after training, normalised, on data not seen before."""
    torch.manual_seed(0)
    plain = VlaPolicyConfig(
        horizon=1,
        backbone=TinyConfig(
            width=64, channels=16, blocks=3, grid=16, keypoints=8, layers=1, labels=["target"]
        ),
        head=RegressionConfig(width=64, layers=1),
        normalization="min_max",
    )
    statistics = vector_statistics(AXES)
    policy = plain.build(BODY, Statistics(state=statistics, action=statistics, source="made up"))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, step / 20, 2 * (1 - step / STEPS))
        loss, _ = policy.loss(make_batch(rng, named=named), generator=generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        fresh = make_batch(np.random.default_rng(1), 256, named=named)
        return policy.loss(fresh, generator=generator)[1]["action"].item()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_words_are_grounded_within_a_few_hundred_steps():
    told, untold = train(named=True), train(named=False)
    assert told < 0.05, f"error {told:.3f} with the words ({untold:.3f} without)"
    assert untold > 3 * told, f"error {untold:.3f} without the words, {told:.3f} with them"
