"""A policy's network as one OpenVINO graph, for the CPUs of robots.

What lies between normalised state and normalised rows (backbone and head) is traced once, with
the codes of its 8-bit layers as constants, and compiled for this processor: one call instead of
hundreds of small ones, convolutions and norms fused, 8-bit products on VNNI and AMX. Activations
are rounded in groups of `_GROUP` entries of one token, so that a plan does not depend on others.

The graph is for one observation that holds no rows of a last plan. Heads that only overwrite
their plan with committed rows are served all the same; for the others such calls are computed by
torch, from the same weights.
"""

import warnings
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from policies.heads.interface import commit
from policies.quantize.linears import Float8Linear, Int4WeightLinear, Int8Linear
from policies.vla_policy import VlaPolicy
from vla.errors import ConfigError

_GROUP = 32  # entries of an activation that share a scale; 64 and more err more, no faster
# Tried here. OpenVINO 2026.4 dies of a segmentation fault on others (readout), so none is guessed.
_HEADS = ("regression", "flow", "diffusion", "dit", "cvae")
_FAR = 0.1  # of normalised rows: rounding alone does not come so far


class OpenvinoNetwork:
    """Stands in for `VlaPolicy.think`.

    Args:
        policy: on the CPU, in float or with 8-bit layers.
        threads: of one plan.
        bfloat16: compute what is not quantized in bfloat16.

    Raises:
        ConfigError: when OpenVINO is not installed, when the policy has parts that have no graph,
            or when the graph does not compute what torch does.
    """

    def __init__(self, policy: VlaPolicy, *, threads: int, bfloat16: bool = False):
        _require_traceable(policy)
        self._policy = policy
        self._torch = policy.think  # not yet replaced
        self._lock = Lock()  # a request runs one plan at a time
        example = _draw_example(policy)
        precision = "bf16" if bfloat16 else "f32"
        self._request = _compile(_Network(policy), _flatten(example), threads, precision)
        self._require_alike(example)

    def __call__(
        self,
        images: dict[str, Tensor],
        texts: list[str],
        state: Tensor,
        pending: Tensor | None,
        noise: Tensor,
        tentative: Tensor | None,
    ) -> Tensor:
        """See `VlaPolicy.think`."""
        free = pending is None and tentative is None
        if not free and not self._policy.head.overwrites:
            return self._torch(images, texts, state, pending, noise, tentative)
        words = self._policy.backbone.read(texts)
        inputs = _flatten((images, words, state, noise))
        rows = [self._infer([part[i : i + 1] for part in inputs]) for i in range(len(texts))]
        return commit(torch.cat(rows), pending)

    def _infer(self, inputs: list[Tensor]) -> Tensor:
        with self._lock:
            found = self._request.infer([part.numpy() for part in inputs], share_inputs=True)
        return torch.from_numpy(found[0])

    def _require_alike(self, example: Any) -> None:
        """A trace keeps the branches of its example; see that nothing else was lost either."""
        images, words, state, noise = example
        with torch.inference_mode():
            told = self._torch(images, words, state, None, noise, None)
        far = float((self._infer(_flatten(example)) - told).abs().max())
        if not far <= _FAR * max(1.0, float(told.abs().max())):
            raise ConfigError(
                f"OpenVINO's plan is {far:.3g} away from torch's (normalised). Set "
                "recipe.runtime.engine=torch, or take another version of OpenVINO."
            )


class _Network(nn.Module):
    """`VlaPolicy.think` without rows of a last plan, with tensors alone."""

    def __init__(self, policy: VlaPolicy):
        super().__init__()
        self.policy = policy

    def forward(self, *inputs: Tensor) -> Tensor:
        """The parts of `_flatten` to rows (1, H, A)."""
        names = tuple(self.policy.embodiment.cameras)
        images = dict(zip(names, inputs, strict=False))
        *words, state, noise = inputs[len(names) :]
        return self.policy.think(images, tuple(words), state, None, noise, None)


def _require_traceable(policy: VlaPolicy) -> None:
    backbone, device = policy.backbone, policy.action_normalizer.center.device
    if not backbone.readable:
        raise ConfigError(
            f"{type(backbone).__name__} reads words with a tokenizer of its own and has no "
            "OpenVINO graph; set recipe.runtime.engine=torch (the tiny backbone has one)."
        )
    if (kind := policy.config.head.kind) not in _HEADS:
        raise ConfigError(
            f"policy/head={kind} has no OpenVINO graph; set recipe.runtime.engine=torch. These "
            f"have one: {', '.join(_HEADS)}."
        )
    if device.type != "cpu":
        raise ConfigError(f"engine=openvino is for CPUs, not for {device}: set device=cpu.")
    for name, layer in policy.named_modules():
        if isinstance(layer, Int4WeightLinear | Float8Linear):
            raise ConfigError(
                f"{name} is a {type(layer).__name__}, which engine=openvino would blow up to "
                "float32; take recipe=int8, int8_weights or none with it."
            )


def _draw_example(policy: VlaPolicy) -> tuple[dict[str, Tensor], tuple[Tensor, ...], Any, Any]:
    """Images, words, state and noise of one made-up observation."""
    body, generator = policy.embodiment, torch.Generator().manual_seed(0)
    images = {
        name: torch.randint(
            256, (1, policy.history, c.height, c.width, 3), dtype=torch.uint8, generator=generator
        )
        for name, c in body.cameras.items()
    }
    state = torch.randn(1, policy.history, len(body.state), generator=generator)
    noise = torch.randn(1, policy.horizon, len(body.action), generator=generator)
    return images, policy.backbone.read(["put the red cube on the pad"]), state, noise


def _flatten(parts: Any) -> list[Tensor]:
    images, words, state, noise = parts
    return [*images.values(), *words, state, noise]


def _compile(network: nn.Module, inputs: list[Tensor], threads: int, precision: str) -> Any:
    """Trace, convert, compile: an OpenVINO inference request."""
    openvino = _import_openvino()
    rounds = any(isinstance(layer, Int8Linear) for layer in network.modules())
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if rounds else 0,
    }
    model = _convert(openvino, network, inputs)
    return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()


def _convert(openvino: Any, network: nn.Module, inputs: list[Tensor]) -> Any:
    """An OpenVINO model of static shapes.

    Wart: `convert_model` tells its maker over the internet that it was used, unless
    `opt_in_out --opt_out` was run once. Its front end for torch would not, and takes half the
    time; it was not yet tried whether large layers then stay in 8 bits.
    """
    with torch.no_grad(), warnings.catch_warnings():
        # the shapes it warns of are static here, and `_require_alike` looks at the result
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(network.eval(), tuple(inputs), check_trace=False)
        shapes = [tuple(part.shape) for part in inputs]
        return openvino.convert_model(traced, example_input=tuple(inputs), input=shapes)


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(
            "recipe.runtime.engine=openvino needs OpenVINO: pip install 'vla-stack[quantize]', "
            "or set recipe.runtime.engine=torch."
        ) from error
    return openvino
