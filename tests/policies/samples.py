"""A small body, its statistics, batches and observations for the policies' tests."""

from dataclasses import replace

import numpy as np
import torch

from policies.backbones.config import TinyConfig
from policies.config import VlaPolicyConfig
from policies.heads.config import DiffusionConfig, FlowConfig, RegressionConfig, TokensConfig
from policies.heads.config_denoisers import DitConfig, ReadoutConfig, UnetConfig
from policies.heads.config_latent import CvaeConfig, VqConfig
from policies.relative import pair
from vla.data.batch import Batch
from vla.data.stats import Statistics, VectorStatistics
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Observation

HORIZON = 4
EMBODIMENT = Embodiment(
    name="sample",
    state=tuple(Axis(name=f"joint{i}", unit="rad", low=-3, high=3) for i in range(3)),
    action=(
        Axis(name="dx", unit="m", low=-0.1, high=0.1, mode="delta"),
        Axis(name="dy", unit="m", low=-0.1, high=0.1, mode="delta"),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    cameras={"front": Camera(height=16, width=16), "wrist": Camera(height=16, width=16)},
    hz=10.0,
)
# As `EMBODIMENT`, but one action axis is where a joint shall be: it fits the same batches.
REACHING = replace(
    EMBODIMENT,
    name="reaching",
    action=(Axis(name="joint1", unit="rad", low=-3, high=3), *EMBODIMENT.action[1:]),
)
TINY = TinyConfig(width=32, layers=1, attention_heads=2, channels=8, blocks=2, grid=8, keypoints=4)
_SMALL = {"width": 32, "layers": 1, "attention_heads": 2}
HEADS = {
    "regression": RegressionConfig(width=32, layers=1),
    "flow": FlowConfig(**_SMALL, steps=4),
    "diffusion": DiffusionConfig(**_SMALL, steps=4),
    "tokens": TokensConfig(**_SMALL),
    "dit": DitConfig(**_SMALL, steps=4, clip=1.5),
    "unet": UnetConfig(widths=[16, 32], time_width=16, steps=4, prediction="sample"),
    "readout": ReadoutConfig(width=64, layers=1),
    "cvae": CvaeConfig(**_SMALL),
    "vq": VqConfig(**_SMALL),
    "delayed flow": FlowConfig(**_SMALL, steps=4, delay=2),
    "delayed unet": UnetConfig(
        widths=[16, 32], time_width=16, steps=4, delay=2, prediction="sample"
    ),
}
TEXTS = ["take the red cube", "put it on the plate, please", "", "reach the blue ball"]


def vector_statistics(axes, **changes):
    """Plausible statistics of `axes`: +-0.8 of their bounds; `changes` replace fields."""
    low, high = (np.array([getattr(a, key) for a in axes]) for key in ("low", "high"))
    middle, half = (low + high) / 2, (high - low) / 2
    plain = VectorStatistics(
        names=tuple(axis.name for axis in axes),
        mean=middle + 0.1 * half,
        std=0.4 * half,
        min=middle - half,
        max=middle + half,
        q01=middle - 0.8 * half,
        q99=middle + 0.8 * half,
        count=100,
    )
    return replace(plain, **changes)


def statistics(embodiment=EMBODIMENT, *, relative=False):
    (pairs,) = pair((embodiment,), relative=relative)
    return Statistics(
        state=vector_statistics(embodiment.state),
        action=vector_statistics(pairs.axes(embodiment)),
        source="made up",
        relative=pairs.names(embodiment),
        horizon=HORIZON if relative else 0,
    )


def build(head, *, seed=0, backbone=TINY, filled=True, **options):
    """A policy with the head's kind or config; of `REACHING` when actions are relative."""
    torch.manual_seed(seed)
    config = VlaPolicyConfig(
        horizon=HORIZON,
        backbone=backbone,
        head=HEADS[head] if isinstance(head, str) else head,
        **options,
    )
    relative = config.relative_actions
    body = REACHING if relative else EMBODIMENT
    return config.build(body, statistics(body, relative=relative) if filled else None)


def stir(policy, seed=0):
    """Replace all-zero weights, so that an untrained policy answers to its inputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)
    return policy


def batch(size=4, *, seed=0, history=1):
    rng = np.random.default_rng(seed)
    low = np.array([axis.low for axis in EMBODIMENT.action], np.float32)
    high = np.array([axis.high for axis in EMBODIMENT.action], np.float32)
    actions = rng.uniform(0.7 * low, 0.7 * high, (size, HORIZON, 3)).astype(np.float32)
    return Batch(
        images={
            name: torch.from_numpy(
                rng.integers(0, 256, (size, history, c.height, c.width, 3), dtype=np.uint8)
            )
            for name, c in EMBODIMENT.cameras.items()
        },
        state=torch.from_numpy(rng.normal(size=(size, history, 3)).astype(np.float32)),
        instruction=[TEXTS[i % len(TEXTS)] for i in range(size)],
        actions=torch.from_numpy(actions),
        mask=torch.ones(size, HORIZON, 3),
        labels={"target": torch.from_numpy(rng.uniform(-1, 1, (size, 2)).astype(np.float32))},
    )


def repeat(one, times):
    """The batch, `times` over."""

    def again(tensor):
        return tensor.repeat(times, *[1] * (tensor.ndim - 1))

    return replace(
        one,
        images={name: again(image) for name, image in one.images.items()},
        state=again(one.state),
        instruction=one.instruction * times,
        actions=again(one.actions),
        mask=again(one.mask),
        labels={name: again(label) for name, label in one.labels.items()},
    )


def observations(size=4, *, seed=0, history=1, pending=(), tentative=()):
    """`pending`, `tentative`: how many rows of a last plan, one number per observation."""
    source = batch(size, seed=seed, history=history)
    rows = list(pending) or [0] * size
    ends = [k + more for k, more in zip(rows, list(tentative) or [0] * size, strict=True)]
    return [
        Observation(
            images={name: image[i].numpy() for name, image in source.images.items()},
            state=source.state[i].numpy(),
            instruction=source.instruction[i],
            time=float(i),
            pending=source.actions[i, : rows[i]].numpy() if rows[i] else None,
            tentative=source.actions[i, rows[i] : ends[i]].numpy() if ends[i] > rows[i] else None,
        )
        for i in range(size)
    ]
