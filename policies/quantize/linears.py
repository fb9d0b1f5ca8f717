"""Linear layers whose weights are stored in few bits.

Plain buffers, so that safetensors holds them and a checkpoint names no class: `codes`,
`scale`, `bias`, and `divisor`, by which inputs are divided (SmoothQuant). Activations are
quantized per token or per sample, so that a plan does not depend on what else is in the batch, as
torch's own dynamic int8 (one scale for the whole batch) would make it.
"""

import platform
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla.errors import ConfigError, choose
from vla.training.precision import cpu_flags

_FLOAT8 = torch.float8_e4m3fn
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}


class QuantizedLinear(nn.Module, ABC):
    """y = (x / divisor) W^T + b, with W from `encode`; x is float (..., K), y like x (..., N)."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool):
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)
        self.register_buffer("divisor", torch.ones(inputs))

    @abstractmethod
    def encode(self, weight: Tensor) -> None:
        """Fill the buffers from a float32 weight (N, K), already multiplied by `divisor`."""

    @abstractmethod
    def decode(self) -> Tensor:
        """The float32 weight (N, K) that the codes stand for."""

    def fill(self, linear: nn.Linear, divisor: Tensor | None = None) -> None:
        """Take over a float layer."""
        if linear.bias is not None:
            self.bias.copy_(linear.bias)
        if divisor is not None:
            self.divisor.copy_(divisor)
        self.encode(linear.weight.detach().float() * self.divisor)

    def forward(self, x: Tensor) -> Tensor:
        """See the class's docstring."""
        rows = (x.reshape(-1, self.in_features) / self.divisor.to(x.dtype)).contiguous()
        return self.multiply(rows).to(x.dtype).unflatten(0, x.shape[:-1])

    def multiply(self, rows: Tensor) -> Tensor:
        """Rows (M, K) times the weight, plus bias: (M, N)."""
        bias = None if self.bias is None else self.bias.to(rows.dtype)
        return F.linear(rows, self.decode().to(rows.dtype), bias)

    def extra_repr(self) -> str:
        """For printing a module."""
        return f"{self.in_features}, {self.out_features}"


class Int8WeightLinear(QuantizedLinear):
    """8-bit weights, one scale per output channel."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool):
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("codes", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))

    def encode(self, weight: Tensor) -> None:
        """See `QuantizedLinear.encode`."""
        self.scale.copy_(weight.abs().amax(1).clamp(min=1e-12) / 127)
        self.codes.copy_((weight / self.scale[:, None]).round().clamp(-127, 127))

    def decode(self) -> Tensor:
        """See `QuantizedLinear.decode`."""
        return self.codes.float() * self.scale[:, None]


class Int8Linear(Int8WeightLinear):
    """8-bit weights and activations.

    On x86 with VNNI by torch's fused operator, which finds the range of the activations,
    rounds and multiplies in one go (1.6 times as fast as separate steps here). It takes one
    range for all it is given, so it is given one sample (dimension 0) at a time. Elsewhere,
    one range per token. Its laid-out weights are a second copy of the codes.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool):
        super().__init__(inputs, outputs, bias=bias)
        self._packed: Any = None
        self._divides = True

    def _apply(self, fn, recurse=True):
        self._packed = None  # laid out for another device
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        """See `QuantizedLinear`."""
        if not VNNI or x.device.type != "cpu" or torch.jit.is_tracing():
            return super().forward(x)
        if self._packed is None:
            self._pack()
        rows = x.float() / self.divisor if self._divides else x.float()
        product = torch.ops.quantized.linear_dynamic
        if len(rows) == 1 or rows.dim() == 1:
            return product(rows, self._packed).to(x.dtype)
        return torch.cat([product(row, self._packed) for row in rows.split(1)]).to(x.dtype)

    def _pack(self) -> None:
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        weight = torch._make_per_channel_quantized_tensor(self.codes, self.scale.double(), zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(weight, self.bias)
        self._divides = bool((self.divisor != 1).any())

    def multiply(self, rows: Tensor) -> Tensor:
        """See `QuantizedLinear.multiply`; one range per token."""
        if torch.jit.is_tracing():  # an engine rounds activations in its own way
            return super().multiply(rows)
        rows = rows.float()
        step = rows.abs().amax(1, keepdim=True).clamp_(min=1e-12).div_(127)
        whole = (rows / step).round_()
        if rows.device.type == "cuda" and self.in_features % 8 == 0:
            least = 17  # rows that the CUDA kernel wants
            codes = F.pad(whole, (0, 0, 0, max(0, least - len(whole)))).to(torch.int8)
            product = torch._int_mm(codes, self.codes.t())[: len(whole)].float()
        else:
            product = F.linear(whole, self.codes.float())
        product = product * self.scale * step
        return product if self.bias is None else product + self.bias


class Int4WeightLinear(QuantizedLinear):
    """4-bit weights, two to a byte; a scale and a middle for each `group` along the inputs."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, group: int = 32):
        super().__init__(inputs, outputs, bias=bias)
        if inputs % group:
            raise ConfigError(f"A layer of {inputs} inputs has no whole groups of {group}.")
        self.group = group
        shape = (outputs, inputs // group)
        self.register_buffer("codes", torch.zeros(outputs, inputs // 2, dtype=torch.uint8))
        self.register_buffer("scale", torch.ones(shape, dtype=torch.bfloat16))
        self.register_buffer("middle", torch.zeros(shape, dtype=torch.bfloat16))
        self._packed: Tensor | None = None

    def _apply(self, fn, recurse=True):
        self._packed = None
        return super()._apply(fn, recurse)

    def fit(self, weight: Tensor) -> None:
        """Choose scale and middle of every group from a weight (N, K)."""
        groups = weight.unflatten(1, (-1, self.group))
        low, high = groups.amin(-1), groups.amax(-1)
        scale = (high - low).clamp(min=1e-8) / 15
        self.scale.copy_(scale)
        self.middle.copy_(low + 8 * scale)

    def round(self, columns: Tensor, begin: int) -> Tensor:
        """Codes in 0..15 of weight columns (N, n) that begin at input `begin`, as float32."""
        place = torch.arange(begin, begin + columns.shape[1], device=columns.device) // self.group
        scale, middle = self.scale.float()[:, place], self.middle.float()[:, place]
        return ((columns - middle) / scale + 8).round().clamp(0, 15)

    def encode(self, weight: Tensor) -> None:
        """See `QuantizedLinear.encode`."""
        self.fit(weight)
        self.store(self.round(weight, 0))

    def store(self, codes: Tensor) -> None:
        """Pack codes (N, K) in 0..15."""
        pairs = codes.to(torch.uint8).unflatten(1, (-1, 2))
        self.codes.copy_(pairs[..., 0] | (pairs[..., 1] << 4))

    def values(self, codes: Tensor, begin: int) -> Tensor:
        """Weight columns, float32 (N, n), that codes (N, n) from input `begin` stand for."""
        place = torch.arange(begin, begin + codes.shape[1], device=codes.device) // self.group
        return (codes - 8) * self.scale.float()[:, place] + self.middle.float()[:, place]

    def unpack(self) -> Tensor:
        """Codes uint8 (N, K)."""
        return torch.stack([self.codes & 15, self.codes >> 4], dim=-1).flatten(1)

    def decode(self) -> Tensor:
        """See `QuantizedLinear.decode`."""
        return self.values(self.unpack().float(), 0)

    def multiply(self, rows: Tensor) -> Tensor:
        """See `QuantizedLinear.multiply`. A CPU has a kernel of its own for few rows."""
        if rows.device.type != "cpu" or len(rows) > 16 or self.out_features % 64:
            return super().multiply(rows)
        if self._packed is None:
            codes = self.unpack().to(torch.int32)
            self._packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
            self._affine = torch.stack([self.scale.t(), self.middle.t()], dim=-1).contiguous()
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows.to(torch.bfloat16), self._packed, self.group, self._affine
        )
        return product if self.bias is None else product.to(rows.dtype) + self.bias.to(rows.dtype)


class Bfloat16Linear(QuantizedLinear):
    """bfloat16 weights and activations: half the memory, and the yardstick of the others."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool):
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("codes", torch.zeros(outputs, inputs, dtype=torch.bfloat16))

    def encode(self, weight: Tensor) -> None:
        """See `QuantizedLinear.encode`."""
        self.codes.copy_(weight)

    def decode(self) -> Tensor:
        """See `QuantizedLinear.decode`."""
        return self.codes.float()

    def multiply(self, rows: Tensor) -> Tensor:
        """See `QuantizedLinear.multiply`."""
        bias = None if self.bias is None else self.bias.bfloat16()
        return F.linear(rows.bfloat16(), self.codes, bias)


class Float8Linear(QuantizedLinear):
    """float8 (e4m3) weights per channel and, on a GPU that multiplies them, activations."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool):
        super().__init__(inputs, outputs, bias=bias)
        self.register_buffer("codes", torch.zeros(outputs, inputs, dtype=_FLOAT8))
        self.register_buffer("scale", torch.ones(outputs, 1))

    def encode(self, weight: Tensor) -> None:
        """See `QuantizedLinear.encode`."""
        largest = torch.finfo(_FLOAT8).max
        self.scale.copy_(weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / largest)
        self.codes.copy_(weight / self.scale)

    def decode(self) -> Tensor:
        """See `QuantizedLinear.decode`."""
        return self.codes.float() * self.scale

    def multiply(self, rows: Tensor) -> Tensor:
        """See `QuantizedLinear.multiply`."""
        if rows.device.type != "cuda" or torch.cuda.get_device_capability(rows.device) < (8, 9):
            return super().multiply(rows)
        largest = torch.finfo(_FLOAT8).max
        step = rows.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / largest
        product = torch._scaled_mm(
            (rows.float() / step).to(_FLOAT8), self.codes.t(), step, self.scale.t(),
            out_dtype=torch.bfloat16,
        )  # fmt: skip
        return product if self.bias is None else product + self.bias.to(product.dtype)


LINEARS: dict[str, type[QuantizedLinear]] = {
    "bfloat16": Bfloat16Linear,
    "int8": Int8Linear,
    "int8_weights": Int8WeightLinear,
    "int4_weights": Int4WeightLinear,
    "float8": Float8Linear,
}


def make_linear(kind: str, inputs: int, outputs: int, *, bias: bool, group: int) -> QuantizedLinear:
    """An empty quantized layer. Raises UnknownChoice, ConfigError."""
    layer = choose("kind of quantized layer", kind, LINEARS)
    if layer is Int4WeightLinear:
        return Int4WeightLinear(inputs, outputs, bias=bias, group=group)
    return layer(inputs, outputs, bias=bias)


def has_vnni() -> bool:
    """Whether the fused int8 product is exact here: without VNNI its sums may saturate."""
    x86 = platform.machine() == "x86_64" and "x86" in torch.backends.quantized.supported_engines
    return x86 and not _VNNI.isdisjoint(cpu_flags())


VNNI = has_vnni()
