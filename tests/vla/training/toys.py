"""A policy and a loader that are small but use every source of randomness a real one uses."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch._dynamo  # The first optimizer imports it; here the fork server does, once.
from torch import Tensor, nn

from vla.training.checkpoint import CheckpointMeta
from vla.training.config import TrainingConfig
from vla.training.loop import train
from vla.training.validation import HeldOutLoss

META = CheckpointMeta(config_yaml="policy: toy\n", contract={"embodiment": {"name": "toy"}})


@dataclass(frozen=True, slots=True)
class ToyBatch:
    images: dict[str, Tensor]  # uint8 (B, 2)
    state: Tensor  # (B, 4)
    actions: Tensor  # (B, 3)
    instruction: list[str]

    def to(self, device) -> "ToyBatch":
        images = {name: image.to(device) for name, image in self.images.items()}
        return ToyBatch(
            images, self.state.to(device), self.actions.to(device), list(self.instruction)
        )

    def __len__(self) -> int:
        return len(self.state)


class ToyLoader:
    """Batch k is a function of (seed, k); `poison` makes sample 1 of that batch NaN."""

    def __init__(self, *, seed: int = 0, size: int = 4, poison: int = -1, pause: float = 0.0):
        self.seed, self.size, self.poison, self.pause = seed, size, poison, pause
        self.read: list[int] = []

    def iterate(self, start_step: int):
        step = start_step
        while True:
            self.read.append(step)
            time.sleep(self.pause)
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> ToyBatch:
        generator = torch.Generator().manual_seed(1000 * self.seed + step)
        state = torch.randn(self.size, 4, generator=generator)
        actions = state[:, :3].sin()
        if step == self.poison:
            state[1, 2] = float("nan")
        image = torch.full((self.size, 2), step % 256, dtype=torch.uint8)
        return ToyBatch({"front": image}, state, actions, [f"do {step}"] * self.size)


class ToyPolicy(nn.Module):
    """Dropout draws from torch's global generator, noise from the given one; one weight is tied."""

    def __init__(self, width: int = 8):
        super().__init__()
        torch.manual_seed(7)
        self.backbone = nn.Sequential(nn.Linear(4, width), nn.LayerNorm(width), nn.Dropout(0.3))
        self.words = nn.Embedding(5, width)
        self.unembed = nn.Linear(width, 5, bias=False)
        self.unembed.weight = self.words.weight
        self.head = nn.Linear(width, 3)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: ToyBatch, *, generator: torch.Generator):
        if self.training:
            self.calls += 1
        noise = 0.1 * torch.randn(batch.state.shape, generator=generator)
        hidden = self.backbone(batch.state + noise)
        action = (self.head(hidden) - batch.actions).square().mean()
        words = self.unembed(hidden).square().mean()
        return action + 0.01 * words, {"action": action, "words": words}


def toy_config(**changes) -> TrainingConfig:
    options = {
        "steps": 12, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 3, "accumulate": 1,
        "ema_decay": 0.9, "precision": "float32", "log_every": 1, "checkpoint_every": 3,
        "eval_every": 4, "validation_batches": 2,
    }  # fmt: skip
    return TrainingConfig(**(options | changes))


def toy_train(directory, *, config=None, policy=None, loader=None, **options):
    """Train a fresh toy (unless given) and return the result."""
    config = config or toy_config()
    options.setdefault("validation", HeldOutLoss(ToyLoader(seed=9), config))
    return train(
        policy or ToyPolicy(), loader or ToyLoader(), config,
        directory=directory, meta=META, **options,
    )  # fmt: skip


def run_resumed(directory: Path, steps: int, pause: float) -> None:
    """What a child process does: go on with the run, standard error into a file."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "stderr.txt").open("a") as file:
        os.dup2(file.fileno(), 2)
    config = toy_config(steps=steps, threads=1, accumulate=2)
    toy_train(directory, config=config, loader=ToyLoader(pause=pause), resume=True)
