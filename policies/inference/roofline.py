"""What this device can do, measured: bytes per second from memory, operations per second."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from policies.inference.phases import wait
from policies.quantize.linears import VNNI

_FLOAT8 = torch.float8_e4m3fn


@dataclass(frozen=True, kw_only=True, slots=True)
class Roofline:
    """Measured limits of a device.

    Attributes:
        device: its name.
        bandwidth: bytes/s read by a matrix-vector product far larger than any cache, or moved by
            a copy, whichever is more.
        rates: operations/s of square matrix products by format: float32, bfloat16, int8, float8.
    """

    device: str
    bandwidth: float
    rates: dict[str, float]

    def floor(self, flops: float, size: float, dtype: str) -> float:
        """Seconds that so many operations and bytes take at least."""
        rate = self.rates.get(dtype) or self.rates["float32"]
        return max(flops / rate, size / self.bandwidth)

    def to_json(self) -> dict:
        """Plain JSON values."""
        return asdict(self)


def measure_roofline(device: torch.device, *, seconds: float = 0.3) -> Roofline:
    """Measure for about `seconds` per figure; the best of many tries counts."""
    cuda = device.type == "cuda"
    side = 8192 if cuda else 1024
    rates = {}
    for name, multiply in _make_products(device, side).items():
        rates[name] = 2 * side**3 / _best(multiply, device, seconds)
    rows = 65536 if cuda else 16384
    matrix = torch.ones(rows, 4096, device=device)
    vector = torch.ones(4096, device=device)
    out = torch.empty_like(matrix)
    speeds = (
        matrix.nbytes / _best(lambda: torch.mv(matrix, vector), device, seconds),
        2 * matrix.nbytes / _best(lambda: out.copy_(matrix), device, seconds),
    )
    name = torch.cuda.get_device_name(device) if cuda else "CPU"
    return Roofline(device=name, bandwidth=max(speeds), rates=rates)


def _make_products(device: torch.device, side: int) -> dict[str, Callable[[], Tensor]]:
    """A square matrix product in each format that the device multiplies."""
    wide = torch.randn(side, side, device=device)
    half = wide.bfloat16()
    found: dict[str, Callable[[], Tensor]] = {
        "float32": lambda: wide @ wide,
        "bfloat16": lambda: half @ half,
    }
    if device.type == "cuda":
        whole = torch.ones(side, side, dtype=torch.int8, device=device)
        found["int8"] = lambda: torch._int_mm(whole, whole.t())
        if torch.cuda.get_device_capability(device) >= (8, 9):
            small, one = wide.to(_FLOAT8), torch.ones((), device=device)
            found["float8"] = lambda: torch._scaled_mm(
                small, small.t(), one, one, out_dtype=torch.bfloat16
            )
    elif VNNI:
        zeros, scale = torch.zeros(side, dtype=torch.long), torch.ones(side, dtype=torch.double)
        codes = torch.ones(side, side, dtype=torch.int8)
        weight = torch._make_per_channel_quantized_tensor(codes, scale, zeros, 0)
        packed = torch.ops.quantized.linear_prepack(weight, None)
        found["int8"] = lambda: torch.ops.quantized.linear_dynamic(wide, packed)
    return found


def _best(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Shortest time of one call, in seconds."""
    work()
    wait(device)
    least, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        wait(device)
        least = min(least, time.perf_counter() - began)
    return least
