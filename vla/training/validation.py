"""How good the weights are on what they were not trained on."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any, Protocol

import torch
from torch import nn

from vla.training.config import TrainingConfig
from vla.training.learner import seed_step
from vla.training.precision import autocast, resolve_precision

Validation = Callable[[nn.Module], Mapping[str, float]]
"""Judges a policy that is in evaluation mode; "loss" among the metrics decides which is best."""


class Loader(Protocol):
    """An endless, repeatable stream of batches."""

    def iterate(self, start_step: int) -> Generator[Any, None, None]:
        """Yield batch `start_step` and those after it; batch k is the same on every call."""
        ...


class HeldOutLoss:
    """A Validation: the mean loss over the first batches of a held-out loader.

    Batches and random draws (noise, flow times) are the same each time, so that two
    validations differ by the weights alone.
    """

    def __init__(self, loader: Loader, config: TrainingConfig):
        self._loader = loader
        self._config = config

    @torch.no_grad()
    def __call__(self, policy: nn.Module) -> dict[str, float]:
        """The means over batches of "loss" and of the policy's own metrics."""
        config = self._config
        device = next(policy.parameters()).device
        precision = resolve_precision(config.precision, device)
        sums: dict[str, float] = {}
        with closing(self._loader.iterate(0)) as batches:
            for index, batch in enumerate(islice(batches, config.validation_batches)):
                # Training counts its steps from 1, so step 0 shares no draws with it.
                generator = seed_step(config.seed, 0, index, 0, device)
                with autocast(precision, device):
                    loss, parts = policy.loss(batch.to(device), generator=generator)
                for name, value in {**parts, "loss": loss}.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        return {name: value / config.validation_batches for name, value in sums.items()}
