"""Where a plan's time and work go: preprocess, vision, prefill, action.

The scopes lie on the policy's own modules while they are watched, and nothing is guessed: what a
meter counts belongs to the innermost open scope, so the phases add up to the whole.

    act ........ preprocess   words to ids, stacking, upload, normalisation; download, bounds
    ├ encode ... prefill      embeddings and the language model over the prefix
    │ ├ gather . preprocess   resizing
    │ └ tower .. vision       the eyes, colours standardised, and the projector
    └ sample ... action       denoising steps, words, or one pass
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

PHASES = ("preprocess", "vision", "prefill", "action")


class Scopes:
    """Exclusive sums of a meter per phase.

    Attributes:
        totals: what each phase added to the meter, since the last `clear`.
    """

    def __init__(self, read: Callable[[], np.ndarray]):
        """`read`: the meter, float64 (n,), never falling; it waits for the device itself."""
        self._read = read
        self._open: list[str] = []
        self.clear()

    def clear(self) -> None:
        """Begin again; no scope may be open."""
        self._last = self._read()
        self.totals = {name: np.zeros_like(self._last) for name in PHASES}

    def _turn(self) -> None:
        now = self._read()
        if self._open:
            self.totals[self._open[-1]] += now - self._last
        self._last = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens within belongs to the phase `name`, but for inner scopes."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()


@contextmanager
def watch(policy: nn.Module, scopes: Scopes) -> Iterator[None]:
    """Put scopes on a VlaPolicy or FamilyPolicy run as it is (not compiled), and take them off."""
    part = getattr(policy, "inner", policy)
    backbone = part.backbone
    places: list[tuple[Any, str, str]] = [
        (policy, "act", "preprocess"),
        (backbone, "encode", "prefill"),
        (part.head, "sample", "action"),
    ]
    if hasattr(backbone, "tower"):
        places += [(backbone.tower, "forward", "vision"), (backbone, "_gather", "preprocess")]
    for eye in getattr(backbone, "eyes", {}).values():
        places.append((eye, "look", "vision"))
    with ExitStack() as stack:
        for owner, name, phase in places:
            setattr(owner, name, _wrap(getattr(owner, name), scopes, phase))
            stack.callback(delattr, owner, name)
        yield


def _wrap(function: Callable, scopes: Scopes, phase: str) -> Callable:
    def run(*arguments: Any, **options: Any) -> Any:
        with scopes.phase(phase):
            return function(*arguments, **options)

    return run


def make_clock(device: torch.device) -> Callable[[], np.ndarray]:
    """A meter of seconds (1,) that first waits for the device."""

    def read() -> np.ndarray:
        wait(device)
        return np.array([time.perf_counter()])

    return read


def wait(device: torch.device) -> None:
    """Until everything asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
