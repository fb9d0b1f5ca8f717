"""An exponential moving average of the weights: what is validated, saved and deployed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of the trainable floating-point parameters, kept in float32.

    After update t (counted from 1), with decay d_t = min(decay, t / (t + 9)):

        average <- d_t * average + (1 - d_t) * weight

    The warm-up of d_t lets the average forget the random start (Polyak & Juditsky 1992 for
    the average; TensorFlow's ExponentialMovingAverage for the warm-up). With decay 0 there
    is no average: `averages` is empty and every method leaves the weights alone.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.parameters: dict[str, nn.Parameter] = {
            name: parameter
            for name, parameter in module.named_parameters()
            if decay > 0 and parameter.requires_grad and parameter.is_floating_point()
        }
        self.averages: dict[str, Tensor] = {
            name: parameter.detach().float().clone() for name, parameter in self.parameters.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step`, counted from 1."""
        decay = min(self.decay, step / (step + 9))
        for name, average in self.averages.items():
            average.lerp_(self.parameters[name].float(), 1 - decay)

    @torch.no_grad()
    def restore(self, weights: dict[str, Tensor]) -> None:
        """Set the averages from a checkpoint's weights, by name."""
        for name, average in self.averages.items():
            average.copy_(weights[name])

    def raw(self) -> dict[str, Tensor]:
        """The weights as the optimizer left them, of the averaged parameters only."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the module holds the averages; afterwards the raw weights, bit for bit."""
        raw = {name: tensor.clone() for name, tensor in self.raw().items()}
        self._assign(self.averages)
        try:
            yield
        finally:
            self._assign(raw)

    @torch.no_grad()
    def _assign(self, tensors: dict[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[name])
