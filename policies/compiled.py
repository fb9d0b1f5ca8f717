"""A policy run as its device likes it: a wrapper, for any policy of ours.

On a CPU: the number of threads, channels-last convolutions, bfloat16 where the processor
multiplies it, or the whole plan as one OpenVINO graph. Anywhere: torch.compile of the whole plan,
from uint8 pictures to actions in the body's units. On a GPU the modes "reduce-overhead" and
"max-autotune" also record it as one CUDA graph, which the host only has to start:

    host   stack, words to ids ──▶ pinned memory ─┐                            ┌──▶ bounds
    GPU                                 fixed inputs ──▶ [one CUDA graph: resize, normalise,
                                                         eyes, prefix, all steps] ──▶ actions

Shapes are static: prompts are padded to the backbone's `bucket`, and each number of observations
and of committed rows has a recording of its own, made when it is first asked for. The prefix is
encoded once per plan and read by all steps of a head, with or without this wrapper. What is not
recorded runs as it is: rows to be drawn towards (`tentative`, which need gradients), backbones
that read texts themselves (`auto`) or lay pictures out on the host (Qwen-VL), plans in words,
heads whose words end when they like (FAST).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from policies.planning import Inputs, plan, upload
from policies.quantize.config import RuntimeConfig
from policies.vla_policy import VlaPolicy
from vla.contract import Policy
from vla.embodiment import Embodiment
from vla.errors import ConfigError
from vla.training.precision import autocast, resolve_precision
from vla.types import ActionChunk, Observation

_INDUCTOR = {
    "default": None,
    "reduce-overhead": None,
    "max-autotune": "max-autotune-no-cudagraphs",
}
"""What torch.compile is told: graphs are recorded here, around the whole plan, not inside of it."""
_SHAPES = 256  # programs of one policy, one for each set of shapes
_WARM_UP = 3


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
        self._device = next(t.device for t in (*inner.parameters(), *inner.buffers()))
        self._precision = resolve_precision(runtime.precision, self._device)
        if runtime.channels_last:
            inner.to(memory_format=torch.channels_last)
        part = getattr(inner, "inner", inner)  # a family's policy holds a plain one
        if isinstance(part, VlaPolicy):
            part.planner = _make_planner(part, runtime)
        elif runtime.compile or runtime.engine != "torch":
            raise ConfigError(
                f"{type(inner).__name__} has no plan to compile; set recipe.runtime.compile='' and "
                "recipe.runtime.engine=torch."
            )

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


def _make_planner(policy: VlaPolicy, runtime: RuntimeConfig) -> Callable[[Inputs], Tensor] | None:
    if runtime.engine == "openvino":
        from policies.openvino_planner import OpenvinoPlanner

        return OpenvinoPlanner(policy, threads=runtime.threads or torch.get_num_threads())
    return Planner(policy, runtime.compile) if runtime.compile else None


class Planner:
    """`planning.plan` of one policy, compiled for each set of shapes it meets.

    Args:
        policy: whose plan it is.
        mode: of torch.compile, see `RuntimeConfig.compile`.
        backend: of torch.compile; tests take "eager", which only looks for what cannot be
            compiled.
    """

    def __init__(self, policy: VlaPolicy, mode: str, *, backend: str = "inductor"):
        self._policy, self._device = policy, policy.device
        self._records = mode != "default" and policy.device.type == "cuda"
        tower = getattr(policy.backbone, "tower", None)
        ends = getattr(getattr(policy.head, "config", None), "end", "")
        self._waits = bool(policy.config.plan_words or ends or getattr(tower, "waits", False))
        self._options = {"backend": backend, "dynamic": False}
        if backend == "inductor":
            self._options["mode"] = _INDUCTOR[mode]
        self._programs: dict[tuple, Callable[[Inputs], Tensor]] = {}

    def __call__(self, inputs: Inputs) -> Tensor:
        """Rows float32 (n, H, A) for inputs on the CPU."""
        if inputs.tentative is not None or isinstance(inputs.words, list) or self._waits:
            return plan(self._policy, upload(inputs, self._device))
        key = tuple(tuple(tensor.shape) for tensor in inputs.tensors())
        key += (inputs.pending is None,)
        if key not in self._programs:
            self._programs[key] = self._prepare(inputs)
        return self._programs[key](inputs)

    def _prepare(self, inputs: Inputs) -> Callable[[Inputs], Tensor]:
        # without the tensors themselves: Dynamo would take them for those of later plans
        policy, shape = self._policy, inputs.map(lambda tensor: torch.empty(0))

        def run(*tensors: Tensor) -> Tensor:
            return plan(policy, shape.holding(tensors))

        compiled = torch.compile(run, **self._options)
        given = upload(inputs, self._device)
        # Dynamo counts programs by the code above, which all shapes share.
        with torch._dynamo.config.patch(recompile_limit=_SHAPES):
            compiled(*given.tensors())
        if self._records:
            return Recording(compiled, inputs, self._device)
        return lambda later: compiled(*upload(later, self._device).tensors())


class Recording:
    """One CUDA graph of a whole plan, between fixed inputs and a fixed output.

    Host memory of the inputs is pinned, so that pictures go up as bytes while the host goes on.

    Args:
        run: tensors on the GPU to rows; it must not wait for the GPU.
        inputs: on the CPU, of the shapes it is for.
        device: the GPU.
    """

    def __init__(self, run: Callable[..., Tensor], inputs: Inputs, device: torch.device):
        self._pinned = [tensor.clone().pin_memory() for tensor in inputs.tensors()]
        self._given = [tensor.to(device) for tensor in self._pinned]
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                run(*self._given)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._rows = run(*self._given)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Rows on the GPU; they are overwritten by the next plan."""
        for pinned, given, tensor in zip(self._pinned, self._given, inputs.tensors(), strict=True):
            pinned.copy_(tensor)
            given.copy_(pinned, non_blocking=True)
        self._graph.replay()
        return self._rows


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
