"""A policy's plan as one OpenVINO graph, for the CPUs of robots.

`planning.plan` is traced once, from pictures and words to rows in the body's units, with the codes
of its 8-bit layers as constants, and compiled for this processor: one call instead of hundreds of
small ones, convolutions and norms fused, 8-bit products on VNNI and AMX. Activations are rounded in
groups of `_GROUP` entries of one token, so that a plan does not depend on others.

The graph is for one observation that holds no rows of a last plan. Heads that only overwrite
their plan with committed rows are served all the same; for the others such calls are computed by
torch, from the same weights.
"""

import warnings
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from policies.planning import Inputs, plan
from policies.quantize.linears import Float8Linear, Int4WeightLinear, Int8Linear
from policies.vla_policy import VlaPolicy
from vla.errors import ConfigError

_GROUP = 32  # entries of an activation that share a scale; 64 and more err more, no faster
# Tried here. OpenVINO 2026.4 dies of a segmentation fault on others (readout), so none is guessed.
_BACKBONES = ("tiny",)
_HEADS = ("regression", "flow", "diffusion", "dit", "cvae")
_FAR = 0.1  # of normalised rows: rounding alone does not come so far


class OpenvinoPlanner:
    """Rows float32 (n, H, A) for inputs on the CPU; stands in for `planning.plan`.

    Args:
        policy: on the CPU, in float or with 8-bit layers.
        threads: of one plan.

    Raises:
        ConfigError: when OpenVINO is not installed, when the policy has parts that have no graph,
            or when the graph does not compute what torch does.
    """

    def __init__(self, policy: VlaPolicy, *, threads: int):
        _require_traceable(policy)
        self._policy = policy
        self._lock = Lock()  # a request runs one plan at a time
        example = _draw_example(policy)
        self._request = _compile(policy, example, threads)
        self._require_alike(example)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Plan one by one; `planning.finish` puts committed rows in."""
        free = inputs.pending is None and inputs.tentative is None
        if not free and not self._policy.head.overwrites:
            return plan(self._policy, inputs)
        bare = replace(inputs, pending=None, tentative=None)
        count = len(inputs.state)
        return torch.cat([self._infer(bare.map(lambda x, i=i: x[i : i + 1])) for i in range(count)])

    def _infer(self, inputs: Inputs) -> Tensor:
        with self._lock:
            found = self._request.infer([x.numpy() for x in inputs.tensors()], share_inputs=True)
            return torch.from_numpy(found[0].copy())

    def _require_alike(self, example: Inputs) -> None:
        """A trace keeps the branches of its example; see that nothing else was lost either."""
        with torch.inference_mode():
            norm = self._policy.action_normalizer
            told = norm(plan(self._policy, example))
            far = float((norm(self._infer(example)) - told).abs().max())
        if not far <= _FAR * max(1.0, float(told.abs().max())):
            raise ConfigError(
                f"OpenVINO's plan is {far:.3g} away from torch's (normalised). Set "
                "recipe.runtime.engine=torch, or take another version of OpenVINO."
            )


class _Network(nn.Module):
    """`planning.plan` with tensors alone."""

    def __init__(self, policy: VlaPolicy, example: Inputs):
        super().__init__()
        self.policy, self._example = policy, example

    def forward(self, *tensors: Tensor) -> Tensor:
        """The parts of an `Inputs` to rows (1, H, A)."""
        return plan(self.policy, self._example.holding(tensors))


def _require_traceable(policy: VlaPolicy) -> None:
    config = policy.config
    for part, kinds in (("backbone", _BACKBONES), ("head", _HEADS)):
        if (kind := getattr(config, part).kind) not in kinds:
            raise ConfigError(
                f"policy/{part}={kind} has no OpenVINO graph; set recipe.runtime.engine=torch. "
                f"These have one: {', '.join(kinds)}."
            )
    if policy.device.type != "cpu":
        raise ConfigError(f"engine=openvino is for CPUs, not for {policy.device}: set device=cpu.")
    for name, layer in policy.named_modules():
        if isinstance(layer, Int4WeightLinear | Float8Linear):
            raise ConfigError(
                f"{name} is a {type(layer).__name__}, which engine=openvino would blow up to "
                "float32; take recipe=int8, int8_weights or none with it."
            )


def _draw_example(policy: VlaPolicy) -> Inputs:
    """One made-up observation."""
    body, generator = policy.embodiment, torch.Generator().manual_seed(0)
    return Inputs(
        images={
            name: torch.randint(
                256,
                (1, policy.history, c.height, c.width, 3),
                dtype=torch.uint8,
                generator=generator,
            )
            for name, c in body.cameras.items()
        },
        state=torch.randn(1, policy.history, len(body.state), generator=generator),
        words=policy.backbone.write(["put the red cube on the pad"], None),
        noise=torch.randn(1, policy.horizon, len(body.action), generator=generator),
        pending=None,
        tentative=None,
    )


@cache
def _open_core() -> Any:
    """One for the life of the process.

    OpenVINO's CPU plug-in gives the thread that loads it another stack for signals and frees that
    stack when the last `Core` goes: the next signal, a Ctrl-C, would end the process (2026.4).
    """
    import openvino

    return openvino.Core()


def _compile(policy: VlaPolicy, example: Inputs, threads: int) -> Any:
    """Trace, convert, compile: an OpenVINO inference request."""
    try:
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise ConfigError(
            "recipe.runtime.engine=openvino needs OpenVINO: pip install 'vla-stack[quantize]', "
            "or set recipe.runtime.engine=torch."
        ) from error
    tensors = tuple(example.tensors())
    with torch.no_grad(), warnings.catch_warnings():
        # the shapes it warns of are static here, and `_require_alike` looks at the result
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        network = _Network(policy, example).eval()
        traced = torch.jit.trace(network, tensors, check_trace=False)
        # not openvino.convert_model: that reports its use to the maker
        decoder = TorchScriptPythonDecoder(traced, example_input=tensors)
        front = FrontEndManager().load_by_framework("pytorch")
        model = front.convert(front.load(decoder))
    model.reshape({port: list(x.shape) for port, x in zip(model.inputs, tensors, strict=True)})
    rounds = any(isinstance(layer, Int8Linear) for layer in policy.modules())
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if rounds else 0,
    }
    return _open_core().compile_model(model, "CPU", settings).create_infer_request()
