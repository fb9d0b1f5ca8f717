"""Modules to safetensors files and back; a tied tensor is stored once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vla.errors import CheckpointError


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tied tensor once, under its first name."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file from tensors on any device and of any layout."""
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, path)


def fill_module(module: nn.Module, path: Path) -> None:
    """Copy a file's tensors into `module`; all of them or, on an error, none.

    A tensor called "..._sha256" says which weights the others were trained beside; it must be
    the same in both.

    Raises:
        CheckpointError: when the file is unreadable, or when tensors are missing,
            unexpected, of another shape, or were trained beside other weights; the message
            lists them.
    """
    targets = module_tensors(module)
    with _open_fitting(path, targets) as file, torch.no_grad():
        for name, target in targets.items():
            target.copy_(file.get_tensor(name))


def map_module(module: nn.Module, path: Path) -> None:
    """Put a file's tensors in the place of those of `module`, which may have no memory yet.

    They are pages of the file, read when they are used and given up when memory is short; what
    is written into them stays here. Tied tensors stay tied. Raises CheckpointError likewise.
    """
    targets = module_tensors(module)
    with _open_fitting(path, targets) as file:
        mapped = {id(target): file.get_tensor(name) for name, target in targets.items()}
    made = {
        id(target): nn.Parameter(mapped[id(target)], requires_grad=False)
        for target in targets.values()
        if isinstance(target, nn.Parameter)
    }
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, old in table.items():
                if id(old) in mapped:
                    table[name] = made.get(id(old), mapped[id(old)])


@contextmanager
def _open_fitting(path: Path, targets: dict[str, Tensor]) -> Iterator[safe_open]:
    """The file, if its tensors are just those of `targets`. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            _require_fit(
                path,
                have={name: tuple(file.get_slice(name).get_shape()) for name in names},
                want={name: tuple(target.shape) for name, target in targets.items()},
            )
            for name in names:
                if name.endswith("_sha256"):
                    _require_same(path, file.get_tensor(name), targets[name])
            yield file
    except (SafetensorError, FileNotFoundError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file: {error}. Copy it anew from its source."
        ) from error


def _require_same(path: Path, have: Tensor, want: Tensor) -> None:
    """Raise CheckpointError when two digests differ."""
    if not torch.equal(have, want.cpu()):
        was, found = (bytes(digest.tolist()).hex()[:12] for digest in (have, want.cpu()))
        raise CheckpointError(
            f"{path} holds adapters of weights with the SHA-256 {was}..., but the base found is "
            f"{found}...; nothing was loaded. Put the base back where config.yaml beside it says "
            "(policy.peft.base, else policy.backbone.name)."
        )


def _require_fit(path: Path, *, have: dict[str, tuple], want: dict[str, tuple]) -> None:
    """Raise CheckpointError listing every tensor that does not fit."""
    lines = [f"missing in the file: {name}" for name in want if name not in have]
    lines += [f"unknown to the policy: {name}" for name in have if name not in want]
    lines += [
        f"{name}: {have[name]} in the file, {shape} in the policy"
        for name, shape in want.items()
        if have.get(name, shape) != shape
    ]
    if lines:
        more = [f"... and {len(lines) - 20} more"] if len(lines) > 20 else []
        listing = "\n  ".join(lines[:20] + more)
        raise CheckpointError(
            f"{path} does not fit the policy; nothing was loaded:\n  {listing}\n"
            "Build the policy from the config.yaml beside the weights."
        )
