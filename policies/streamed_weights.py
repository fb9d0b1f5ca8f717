"""Checkpoints loaded straight into few bits: at no time is the policy there in float.

    shards ──portion by portion──▶ one weight ──▶ codes (linear layers the recipe chooses)
                                        └───────▶ as it is (all others)

The policy is built without memory for its weights. A file is closed and opened again every
`portion` bytes, because what was read of a mapped file counts as this process's memory until it
is closed: the peak is what is kept, one portion, and a few copies of the largest single weight.
Scales come from the weights alone, so there is no report of errors: judge the result by `vla
quantize`'s gate on a machine that holds the float policy before an arm follows it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from policies.quantize.config import RecipeConfig
from policies.quantize.linears import QuantizedLinear, make_linear
from policies.quantize.quantizer import choose_layers
from policies.quantize.storage import unfilled
from vla.errors import CheckpointError
from vla.training.weights import module_tensors

PORTION = 512 * 2**20


def load_in_bits(
    build: Callable[[], nn.Module],
    files: Sequence[Path],
    recipe: RecipeConfig,
    *,
    rename: Callable[[str], str] = str,
    portion: int = PORTION,
) -> tuple[nn.Module, list[str]]:
    """Build a policy and fill it from safetensors files, quantizing each weight as it comes.

    Args:
        build: makes the policy; its weights are not kept.
        files: the shards, in any order; each tensor of the policy in one of them.
        recipe: which layers are stored how; `smooth` and `gptq`, which need data, do not count.
        rename: the policy's name of a tensor of the files.
        portion: bytes read before a file is closed and opened again.

    Returns:
        The policy, and the names of the layers that are stored in few bits.

    Raises:
        CheckpointError: for a file that cannot be read, and for tensors that are missing,
            unknown, or of another shape.
    """
    with unfilled():
        policy = build()
    chosen = choose_layers(policy, recipe)
    slots = {name: tuple(tensor.shape) for name, tensor in module_tensors(policy).items()}
    begun: dict[str, QuantizedLinear] = {}
    seen: set[str] = set()
    for theirs, tensor in _read(files, portion):
        name = rename(theirs)
        if slots.get(name) != tuple(tensor.shape) or name in seen:
            have = slots.get(name, "no such tensor")
            raise CheckpointError(
                f"{theirs} {tuple(tensor.shape)} does not fit the policy ({have}), or is there "
                "twice. The files are of another model, or made by another version."
            )
        seen.add(name)
        path, _, own = name.rpartition(".")
        if path in chosen:
            layer = chosen[path]
            if path not in begun:
                begun[path] = _begin(policy, path, layer, recipe)
            _take(begun[path], own, tensor)
        else:
            _put(policy, path, own, tensor)
    if missing := sorted(slots.keys() - seen):
        raise CheckpointError(
            f"{len(missing)} tensors are in none of the files: {', '.join(missing[:10])}. Fetch "
            "what is lacking; nothing was loaded."
        )
    return policy.eval(), sorted(chosen)


def _read(files: Sequence[Path], portion: int) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of every file; the yielded one is a view that must not be kept."""
    for path in files:
        try:
            with safe_open(path, framework="pt") as shard:
                names = list(shard.keys())
            while names:
                read = 0
                with safe_open(path, framework="pt") as shard:
                    while names and read < portion:
                        tensor = shard.get_tensor(names[0])
                        read += tensor.nbytes
                        yield names.pop(0), tensor
                        del tensor
        except (SafetensorError, FileNotFoundError) as error:
            raise CheckpointError(
                f"{path} is not a readable safetensors file: {error}. Copy it anew."
            ) from error


def _begin(policy: nn.Module, path: str, layer: nn.Linear, recipe: RecipeConfig) -> QuantizedLinear:
    """An empty layer of few bits in the place of `layer`."""
    empty = make_linear(
        recipe.kind, layer.in_features, layer.out_features,
        bias=layer.bias is not None, group=getattr(recipe, "group", 0),
    )  # fmt: skip
    parent, _, own = path.rpartition(".")
    setattr(policy.get_submodule(parent), own, empty)
    return empty


@torch.no_grad()
def _take(layer: QuantizedLinear, own: str, tensor: Tensor) -> None:
    """A chosen layer's weight, as codes, or its bias."""
    if own == "bias":
        layer.bias.copy_(tensor)
    else:
        layer.encode(tensor.float())


def _put(policy: nn.Module, path: str, own: str, tensor: Tensor) -> None:
    """A weight or buffer that stays as it is, in the format of the policy's own."""
    owner = policy.get_submodule(path)
    if own in owner._buffers:
        owner._buffers[own].copy_(tensor)  # type: ignore[union-attr]
        return
    old = owner._parameters[own]
    assert old is not None
    kept = nn.Parameter(tensor.to(old.dtype, copy=True), requires_grad=False)
    for module in policy.modules():  # a tied weight stays tied
        for name, parameter in module._parameters.items():
            if parameter is old:
                module._parameters[name] = kept
