"""A policy run as its device likes it: a wrapper, for any policy of ours.

On a CPU: the number of threads, channels-last convolutions, bfloat16 where the processor
multiplies it, or all of the network as one OpenVINO graph. On a GPU: tensor cores, and
torch.compile of the backbone and of the head, whose modes "reduce-overhead" and "max-autotune"
replay CUDA graphs. Shapes are static per number of observations; prompts are padded to the
backbone's `bucket`. The prefix is encoded once per plan and read by all steps of a head, with or
without this wrapper.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from policies.quantize.config import RuntimeConfig
from policies.vla_policy import VlaPolicy
from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError
from vla.training.precision import autocast, resolve_precision
from vla.types import ActionChunk, Observation


class CompiledPolicy:
    """`vla.contract.Policy` around a VlaPolicy or FamilyPolicy, which it changes in place.

    Attributes:
        inner: the policy.
        embodiment, history: of the policy.

    Raises:
        ConfigError: when asked to compile a policy that has no backbone and head of its own.
    """

    def __init__(self, inner: Policy, runtime: RuntimeConfig):
        self.inner, self._runtime = inner, runtime
        self.history = inner.history
        self.horizon = getattr(inner, "horizon", None)
        if not isinstance(inner, nn.Module):
            raise ConfigError(f"{type(inner).__name__} is no module of ours; run it as it is.")
        self._device = next(inner.parameters()).device
        self._precision = resolve_precision(runtime.precision, self._device)
        if runtime.channels_last:
            inner.to(memory_format=torch.channels_last)
        if runtime.compile:
            _compile(inner, runtime.compile)
        if runtime.engine == "openvino":
            _convert(inner, runtime, self._precision)

    @property
    def embodiment(self) -> Embodiment:
        """The body it drives now."""
        return self.inner.embodiment

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """See `vla.contract.Policy.act`."""
        with _threads(self._runtime.threads), autocast(self._precision, self._device):
            return self.inner.act(observations, seeds=seeds)


def _compile(inner: nn.Module, mode: str) -> None:
    """Compile what takes the time and has static shapes; words become ids outside of it."""
    part = getattr(inner, "inner", inner)  # a family's policy holds a plain one
    if not isinstance(getattr(part, "head", None), nn.Module):
        raise ConfigError(
            f"{type(inner).__name__} has no head to compile; set recipe.runtime.compile=''."
        )
    part.backbone.encode = torch.compile(part.backbone.encode, mode=mode)
    part.head.sample = torch.compile(part.head.sample, mode=mode)


def _convert(inner: nn.Module, runtime: RuntimeConfig, precision: str) -> None:
    """Let OpenVINO compute what the network computes."""
    from policies.openvino_network import OpenvinoNetwork

    part = getattr(inner, "inner", inner)
    if not isinstance(part, VlaPolicy):
        raise ConfigError(
            f"{type(inner).__name__} has no OpenVINO graph; set recipe.runtime.engine=torch."
        )
    threads = runtime.threads or torch.get_num_threads()
    part.think = OpenvinoNetwork(part, threads=threads, bfloat16=precision == "bfloat16")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Plan with `count` CPU threads (0: as they are), then put the number back."""
    before = torch.get_num_threads()
    if not count or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
