"""Which floating-point format a device computes best in."""

from pathlib import Path

import torch

NATIVE_BFLOAT16 = {"amx_bf16", "avx512_bf16"}


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn "auto" into "bfloat16" where `device` computes it natively, else "float32".

    A CPU without such instructions emulates bfloat16 several times slower than float32.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and not NATIVE_BFLOAT16.isdisjoint(cpu_flags())
    return "bfloat16" if native else "float32"


def cpu_flags(listing: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The processor's feature flags; empty where the system does not list them."""
    if not listing.exists():
        return set()
    lines = listing.read_text().splitlines()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context that computes matrix products in bfloat16; does nothing for "float32"."""
    enabled = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
