"""The state that one training step changes, and the step itself."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vla.training.checkpoint import (
    Checkpoint,
    TrainingState,
    load_training,
    load_weights,
)
from vla.training.config import TrainingConfig
from vla.training.distributed import Team
from vla.training.ema import Ema
from vla.training.guard import require_finite
from vla.training.optim import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)
from vla.training.precision import autocast, resolve_precision
from vla.training.weights import module_tensors


class TrainablePolicy(Protocol):
    """A torch module (on its device already) that can say how wrong it is on a batch.

    It may also have `after_update(step)`, called after each update of the optimizer, with the
    gradients still there (adapters that choose their ranks need it).
    """

    def loss(
        self, batch: Any, *, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The scalar to minimise and what to plot; `generator` is on the policy's device."""
        ...


class Augment(Protocol):
    """Changes a batch, on the batch's device; all randomness comes from a CPU generator."""

    def __call__(self, batch: Any, *, generator: torch.Generator) -> Any:
        """The batch to train on."""
        ...


class Learner:
    """Policy, optimizer and weight average of a run.

    No random state survives a step: the generator given to the policy, and torch's global one
    (dropout knows no other), are seeded from (seed, step, micro-batch, rank). That is why a
    resumed run repeats an uninterrupted one to the last bit without saving generator states.
    """

    def __init__(
        self,
        policy: nn.Module,
        config: TrainingConfig,
        *,
        folder: Path,
        team: Team,
        augment: Augment | None = None,
    ):
        self.policy = policy
        self.config = config
        self.folder = folder
        self.team = team
        self.augment = augment
        self.optimizer = build_optimizer(policy, config)
        self.parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.device = self.parameters[0].device
        self.precision = resolve_precision(config.precision, self.device)
        self.ema = Ema(policy, config.ema_decay)
        self._after_update: Callable[[int], None] | None = getattr(policy, "after_update", None)
        policy.train()

    def update(self, step: int, batches: Iterator[Any]) -> dict[str, float]:
        """Make update `step` (counted from 1) from the next micro-batches; return its metrics.

        Raises:
            TrainingError: on a non-finite loss or gradient; the weights are as before then.
        """
        seen: list[Any] = []
        sums: dict[str, Tensor] = {}
        waited = 0.0
        began = time.perf_counter()
        for micro in range(self.config.accumulate):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            generator = seed_step(self.config.seed, step, micro, self.team.rank, self.device)
            batch = batch.to(self.device)
            if self.augment is not None:
                own = torch.Generator().manual_seed(generator.initial_seed())
                batch = self.augment(batch, generator=own)
            with autocast(self.precision, self.device):
                loss, parts = self.policy.loss(batch, generator=generator)
            (loss / self.config.accumulate).backward()
            for name, value in {**parts, "loss": loss}.items():
                part = torch.as_tensor(value, device=self.device).detach().float()
                sums[name] = sums.get(name, 0) + part / self.config.accumulate
            seen.append(batch)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.team.average([*gradients, sums["loss"]])
        norm = nn.utils.get_total_norm(gradients)
        sums["gradient_norm"] = norm.float()
        # The one point per step that waits for the device; everything is read back together.
        values = torch.stack(list(sums.values())).tolist()
        metrics = dict(zip(sums, values, strict=True))
        require_finite(metrics["loss"], metrics["gradient_norm"], step=step, batches=seen,
                       policy=self.policy, folder=self.folder)  # fmt: skip
        bound = self.config.clip_norm or math.inf
        nn.utils.clip_grads_with_norm_(self.parameters, bound, norm)
        rate = learning_rate(step, self.config)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        if self._after_update is not None:
            self._after_update(step)
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(step)
        return metrics | {
            "learning_rate": rate,
            "samples": float(sum(map(len, seen)) * self.team.size),
            "seconds_loader": waited,
            "seconds_compute": time.perf_counter() - began - waited,
        }

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """Within, the policy is as it would act: averaged weights, evaluation mode."""
        self.policy.eval()
        with self.ema.applied():
            yield
        self.policy.train()

    def weights(self) -> dict[str, Tensor]:
        """What is deployed: all tensors of the policy, averaged where there is an average."""
        return module_tensors(self.policy) | self.ema.averages

    def training_state(self) -> TrainingState:
        """What it takes, beside the weights, to go on exactly from here."""
        state = {"training": asdict(self.config), "precision": self.precision}
        return TrainingState(
            raw=self.ema.raw(), optimizer=optimizer_tensors(self.optimizer), state=state
        )

    def restore(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Go back to a checkpoint; return the `state` it was saved with.

        Raises:
            CheckpointError: when it is damaged or belongs to another policy.
        """
        saved = load_training(checkpoint)
        load_weights(self.policy, checkpoint.path)
        self.ema.restore(load_file(checkpoint.path / "weights.safetensors"))
        parameters = dict(self.policy.named_parameters())
        with torch.no_grad():
            for name, tensor in saved.raw.items():
                parameters[name].copy_(tensor)
        restore_optimizer(self.optimizer, saved.optimizer)
        return saved.state


def seed_step(seed: int, step: int, micro: int, rank: int, device: torch.device) -> torch.Generator:
    """Seed torch's global generators, and return one on `device`, from the place in the run."""
    mixed = int(np.random.SeedSequence((seed, step, micro, rank)).generate_state(1, np.uint64)[0])
    torch.manual_seed(mixed)
    return torch.Generator(device).manual_seed(mixed)
