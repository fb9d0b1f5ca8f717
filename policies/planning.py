"""From observations to actions in three strides: gather on the host, plan on the device, finish.

    observations ──gather──▶ Inputs (CPU) ──upload──▶ Inputs ──plan──▶ (n, H, A) ──finish──▶ rows
       words become ids here ┘              uint8 pictures ┘  └ no step of it waits for the device

Only `plan` knows the network, and it takes and gives nothing but tensors of static shapes: it can
be compiled, and recorded as one CUDA graph, see `policies.compiled`.

Legend: n observations, T steps, H rows, A actions, S state axes, K committed, M wanted rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from policies.backbones.interface import Written
from policies.relative import to_absolute, to_relative
from policies.speech import write
from vla.types import Float32, Observation

if TYPE_CHECKING:
    from policies.vla_policy import VlaPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a plan depends on.

    Attributes:
        images: per camera uint8 (n, T, H, W, 3).
        state: float32 (n, T, S), in the body's units.
        words: the instructions as the backbone writes them.
        noise: float32 (n, H, A), standard normal.
        pending, tentative: float32 (n, K, A) and (n, M, A) in the body's units; None without.
    """

    images: dict[str, Tensor]
    state: Tensor
    words: Written
    noise: Tensor
    pending: Tensor | None
    tentative: Tensor | None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """The same with every tensor changed."""

        def maybe(rows: Tensor | None) -> Tensor | None:
            return None if rows is None else change(rows)

        return Inputs(
            images={name: change(image) for name, image in self.images.items()},
            state=change(self.state),
            words=self.words
            if isinstance(self.words, list)
            else tuple(
                replace(part, ids=change(part.ids), mask=change(part.mask)) for part in self.words
            ),
            noise=change(self.noise),
            pending=maybe(self.pending),
            tentative=maybe(self.tentative),
        )

    def tensors(self) -> list[Tensor]:
        """All tensors in a fixed order."""
        found: list[Tensor] = []
        self.map(lambda tensor: found.append(tensor) or tensor)
        return found

    def holding(self, tensors: Sequence[Tensor]) -> "Inputs":
        """The same with other tensors, in the order of `tensors`."""
        given = iter(tensors)
        return self.map(lambda _: next(given))


def gather(
    policy: "VlaPolicy", observations: Sequence[Observation], seeds: Sequence[int]
) -> Inputs:
    """Stack observations with equally many rows of the last plan, on the CPU.

    Noise is drawn on the CPU, so that a seed means the same on every device.
    """
    state = torch.from_numpy(np.stack([o.state for o in observations]))
    texts = [observation.instruction for observation in observations]
    told = None
    if policy.backbone.tells_state:
        told = policy.normalize_state(state.to(policy.device)).cpu()
    shape = (policy.horizon, len(policy.embodiment.action))
    return Inputs(
        images={
            name: torch.from_numpy(np.stack([o.images[name] for o in observations]))
            for name in policy.embodiment.cameras
        },
        state=state,
        words=policy.backbone.write(texts, told),
        noise=torch.stack(
            [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        ),
        pending=_stack([o.pending for o in observations]),
        tentative=_stack([o.tentative for o in observations]),
    )


def upload(inputs: Inputs, device: torch.device) -> Inputs:
    """Move everything; pictures travel as the bytes they are."""
    return inputs.map(lambda tensor: tensor.to(device, non_blocking=True))


def plan(policy: "VlaPolicy", inputs: Inputs) -> Tensor:
    """Rows float32 (n, H, A) in the body's units, not yet within its bounds."""
    present = inputs.state[:, -1]

    def tell(rows: Tensor | None) -> Tensor | None:
        """As the head knows them."""
        if rows is None:
            return None
        return policy.action_normalizer(to_relative(rows, present, policy.pairs))

    context = policy.backbone.encode(
        inputs.images, inputs.words, policy.normalize_state(inputs.state)
    )
    if policy.config.plan_words:
        _, context = write(context, words=policy.config.plan_words)
    rows = policy.head.sample(
        context, tell(inputs.pending), inputs.noise, tentative=tell(inputs.tentative)
    )
    return to_absolute(policy.action_normalizer.inverse(rows.float()), present, policy.pairs)


def finish(policy: "VlaPolicy", rows: Tensor, observations: Sequence[Observation]) -> np.ndarray:
    """Rows (n, H, A) on the CPU, within bounds; committed rows exactly as they were."""
    axes = policy.embodiment.action
    low, high = (np.array([getattr(a, key) for a in axes], np.float32) for key in ("low", "high"))
    actions = np.clip(rows.cpu().numpy(), low, high)
    for planned, observation in zip(actions, observations, strict=True):
        if observation.pending is not None:  # without the way there and back
            planned[: len(observation.pending)] = observation.pending
    return actions


def _stack(rows: Sequence[Float32 | None]) -> Tensor | None:
    known = [part for part in rows if part is not None and len(part)]
    return torch.from_numpy(np.stack(known)) if known else None
