"""Plans timed as a robot waits for them, and the memory they took."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from policies.inference.phases import PHASES, Scopes, make_clock, wait, watch
from policies.inference.roofline import Roofline
from policies.inference.traffic import Traffic
from vla.contract import Policy
from vla.types import Float32, Observation

LEAST_PLANS = 3
_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Wall time of plans.

    Attributes:
        n: plans counted.
        p50_ms, p99_ms: per plan.
    """

    n: int
    p50_ms: float
    p99_ms: float


def time_plans(
    policy: Policy,
    observations: Sequence[Observation],
    *,
    device: torch.device,
    warmup: int,
    calls: int,
    seconds: float,
) -> Timing:
    """Plan again and again from the same observations, waiting for each plan.

    Args:
        policy: any.
        observations: of one plan.
        device: waited for before and after each.
        warmup: plans before, not counted.
        calls: plans counted, at most.
        seconds: after which counting ends, once there are `LEAST_PLANS`.
    """
    seeds, times = list(range(len(observations))), []
    for _ in range(warmup):
        policy.act(observations, seeds=seeds)
    end = time.perf_counter() + seconds
    while len(times) < calls and (len(times) < LEAST_PLANS or time.perf_counter() < end):
        wait(device)
        began = time.perf_counter()
        policy.act(observations, seeds=seeds)
        wait(device)
        times.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times, [50, 99])
    return Timing(n=len(times), p50_ms=float(p50), p99_ms=float(p99))


def split_plan(
    policy: nn.Module,
    act: Callable[..., Any],
    observations: Sequence[Observation],
    *,
    device: torch.device,
    roofline: Roofline,
    dtype: str,
    calls: int,
) -> dict[str, dict[str, float]]:
    """What each phase takes and would take at least.

    Args:
        policy: whose modules are watched.
        act: plans with them: the policy's own, or that of what it is deployed as.
        observations: one batch.
        device: of the policy.
        roofline: of the device.
        dtype: format of the products.
        calls: plans.

    Returns:
        By phase: ms (median of `calls` plans that wait for the device at each boundary), gflop,
        weights_mb (read, see `traffic`), floor_ms (by the roofline, for products in `dtype`).
    """
    seeds = list(range(len(observations)))
    clock, traffic = Scopes(make_clock(device)), Traffic(policy)
    rows = []
    with watch(policy, clock):
        for _ in range(calls):
            clock.clear()
            act(observations, seeds=seeds)
            rows.append([clock.totals[name][0] for name in PHASES])
    work = Scopes(traffic.read)
    with watch(policy, work), traffic:
        act(observations, seeds=seeds)
    found = {}
    for name, spent in zip(PHASES, np.median(rows, axis=0), strict=True):
        flops, size = work.totals[name]
        found[name] = {
            "ms": 1e3 * float(spent),
            "gflop": flops / 1e9,
            "weights_mb": size / 1e6,
            "floor_ms": 1e3 * roofline.floor(flops, size, dtype),
        }
    return found


def measure_error(actions: Sequence[Float32], reference: Sequence[Float32]) -> dict[str, float]:
    """Largest and mean absolute difference of plans (H, A), in normalised units."""
    error = np.abs(np.stack(list(actions)) - np.stack(list(reference[: len(actions)])))
    return {"error_max": float(error.max()), "error_mean": float(error.mean())}


class PeakMemory:
    """Most memory since it was made: a GPU's allocations, or this process's resident set."""

    def __init__(self, device: torch.device):
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif _RESET.exists():
            _RESET.write_text("5")  # Linux: begin the high-water mark anew

    def read(self) -> float:
        """MB. Without Linux's mark it is the peak of the process's whole life."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        status = Path("/proc/self/status")
        if not status.exists():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return float(lines[0].split()[1]) * 1024 / 1e6


def describe_timing(timing: Timing, batch: int) -> dict[str, Any]:
    """Plain values, with plans per second by the median."""
    return {**asdict(timing), "batch": batch, "per_s": 1e3 * batch / timing.p50_ms}
