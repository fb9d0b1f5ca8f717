"""What the layers of a policy are fed on real observations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vla.contract import Policy
from vla.types import Observation

_ROWS = 512  # kept per layer, for errors and for GPTQ
_BATCH = 8


@dataclass(kw_only=True, slots=True)
class Inputs:
    """What one layer was fed.

    Attributes:
        largest: float32 (K,), largest magnitude per input channel.
        rows: float32 (M, K), some of the inputs, M <= 512, spread over the observations.
        seen: rows that there were.
    """

    largest: Tensor
    rows: Tensor
    seen: int = field(default=0)


def calibrate(
    policy: Policy, layers: dict[str, nn.Linear], observations: Sequence[Observation]
) -> dict[str, Inputs]:
    """Plan from `observations` and keep what `layers` were fed.

    Args:
        policy: in float, on any device.
        layers: of the policy, by name.
        observations: of its training data or alike; none give an empty table.

    Returns:
        Per layer that was used, on the policy's device.
    """
    inputs: dict[str, Inputs] = {}
    per_call = max(1, _ROWS * _BATCH // max(1, len(observations)))
    with _watch(layers, inputs, per_call):
        for begin in range(0, len(observations), _BATCH):
            some = observations[begin : begin + _BATCH]
            policy.act(some, seeds=list(range(begin, begin + len(some))))
    return inputs


@contextmanager
def _watch(
    layers: dict[str, nn.Linear], inputs: dict[str, Inputs], per_call: int
) -> Iterator[None]:
    def note(name: str, x: Tensor) -> None:
        rows = x.detach().flatten(0, -2).float()
        largest = rows.abs().amax(0)
        picked = rows[:: max(1, len(rows) // per_call)][:per_call]
        if (known := inputs.get(name)) is None:
            inputs[name] = Inputs(largest=largest.clone(), rows=picked.clone(), seen=len(rows))
            return
        known.largest = torch.maximum(known.largest, largest)
        known.rows = torch.cat([known.rows, picked])[:_ROWS]
        known.seen += len(rows)

    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: note(name, args[0]))
        for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
