import pytest
import torch

from vla.training.precision import autocast, cpu_flags, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512_bf16", "bfloat16"), ("fpu amx_bf16", "bfloat16"), ("fpu avx2", "float32")],
)
def test_auto_follows_the_processor(tmp_path, monkeypatch, flags, expected):
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor: 0\nflags\t\t: {flags}\n")
    found = cpu_flags(listing)
    monkeypatch.setattr("vla.training.precision.cpu_flags", lambda: found)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("float32", CPU) == "float32"


def test_no_listing_means_no_flags(tmp_path):
    assert cpu_flags(tmp_path / "none") == set()


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)]
)
def test_autocast_decides_the_format_of_products(precision, dtype):
    with autocast(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
