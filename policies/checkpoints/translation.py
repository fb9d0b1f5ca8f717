"""Foreign weights to ours, name by name: nothing is guessed, nothing left over silently."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from vla.errors import CheckpointError

PADDED = 32
"""Axes that pi0 and SmolVLA pad every state and action to."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to the numbers on the way in, and what undoes it on the way out."""

    enter: Callable[[Tensor], Tensor]
    leave: Callable[[Tensor], Tensor]

    def __call__(self, weight: Tensor) -> Tensor:
        """Our numbers of theirs."""
        return self.enter(weight)


Table = dict[str, tuple[str, Change]]
"""Their name to our name and what is done to the numbers."""

keep = Change(lambda weight: weight, lambda weight: weight)
lift = Change(lambda weight: weight.float() + 1, lambda weight: weight - 1)
"""Gemma stores a norm's scale as its distance from 1; added in float32, not in bfloat16."""
flip = Change(lambda weight: -weight, lambda weight: -weight)
"""The velocity of openpi leads to the noise, ours to the chunk."""


def cut(columns: int, *, padded: int = PADDED) -> Change:
    """The first `columns` inputs of a linear layer; the others were only ever given zeros."""
    return Change(
        lambda weight: weight[:, :columns].clone(),
        lambda weight: F.pad(weight, (0, padded - columns)),
    )


def stretch(factor: float) -> Change:
    """The numbers times `factor`."""
    return Change(lambda weight: weight.float() * factor, lambda weight: weight / factor)


def restore(weights: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Their weights of ours: `translate` backwards.

    Raises:
        CheckpointError: when ours lack one.
    """
    missing = sorted(ours for ours, _ in table.values() if ours not in weights)
    if missing:
        raise CheckpointError(f"The policy lacks {missing[:5]} ({len(missing)} in all).")
    return {theirs: change.leave(weights[ours]) for theirs, (ours, change) in table.items()}


def rename(
    weights: Mapping[str, Tensor], prefixes: Mapping[str, str], *, spared: tuple[str, ...]
) -> dict[str, Tensor]:
    """Whole parts under our names, by the beginnings of theirs.

    Args:
        weights: theirs; a leading "model." (LeRobot's) does not count.
        prefixes: their beginning to ours; the first that fits is taken.
        spared: beginnings of names that are read elsewhere.

    Raises:
        CheckpointError: for a name that is neither.
    """
    renamed, foreign = {}, []
    for full, weight in weights.items():
        name = full.removeprefix("model.")
        for theirs, ours in prefixes.items():
            if name.startswith(theirs):
                renamed[ours + name.removeprefix(theirs)] = weight
                break
        else:
            if not name.startswith(spared):
                foreign.append(name)
    if foreign:
        raise CheckpointError(
            f"The checkpoint brings {len(foreign)} unknown tensors, e.g. {sorted(foreign)[:5]}; "
            "nothing was loaded. It is another model, or made by another version."
        )
    return renamed


def translate(
    weights: Mapping[str, Tensor], table: Table, *, owned: tuple[str, ...], idle: tuple[str, ...]
) -> dict[str, Tensor]:
    """Our weights by our names.

    Args:
        weights: theirs; a leading "model." of their names (LeRobot's) does not count.
        table: what becomes of them.
        owned: beginnings of names that must all be in the table; other names belong to
            another part (the language model, its eyes) and are left alone.
        idle: names that are stored but have no influence.

    Raises:
        CheckpointError: for a name of the table that is missing, or an owned one that is
            not in the table.
    """
    known = {name.removeprefix("model."): weight for name, weight in weights.items()}
    missing = sorted(table.keys() - known.keys())
    foreign = sorted(
        name for name in known.keys() - table.keys() - set(idle) if name.startswith(owned)
    )
    if missing or foreign:
        raise CheckpointError(
            f"The checkpoint lacks {missing[:5]} ({len(missing)} in all) and brings unknown "
            f"{foreign[:5]} ({len(foreign)}); another variant or number of layers?"
        )
    return {ours: change(known[theirs]) for theirs, (ours, change) in table.items()}


def pair_linear(theirs: str, ours: str, change: Change = keep) -> Table:
    """Weight and bias of a linear layer."""
    return {f"{theirs}.{part}": (f"{ours}.{part}", change) for part in ("weight", "bias")}


def pair_layers(theirs: str, ours: str, count: int, norms: Mapping[str, Change]) -> Table:
    """Decoder layers in transformers' names to those of `policies.heads.expert_layers`.

    Args:
        theirs: what stands before the layers' numbers there.
        ours: the same here.
        count: of layers.
        norms: endings of the norms' names, alike on both sides, and their change.
    """
    inner = {
        **{f"self_attn.{short}_proj.weight": f"{long}.weight" for short, long in _ATTENTION},
        **{f"mlp.{part}_proj.weight": f"{part}.weight" for part in ("gate", "up", "down")},
    }
    table: Table = {}
    for index in range(count):
        before, after = f"{theirs}.{index}", f"{ours}.{index}"
        for name, other in inner.items():
            table[f"{before}.{name}"] = (f"{after}.{other}", keep)
        for name, other in _NORMS:
            table |= pair_norm(f"{before}.{name}", f"{after}.{other}", norms)
    return table


def pair_norm(theirs: str, ours: str, parts: Mapping[str, Change]) -> Table:
    """One norm; see `pair_layers`."""
    return {
        f"{theirs}.{part}": (f"{ours}.{part.replace('dense', 'modulate')}", change)
        for part, change in parts.items()
    }


_ATTENTION = (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out"))
_NORMS = (("input_layernorm", "attention_norm"), ("post_attention_layernorm", "mlp_norm"))


def measure_expert(weights: Mapping[str, Tensor], layers: str) -> dict[str, int]:
    """Width, layers, MLP and lanes of an action expert, as an `ExpertConfig` names them.

    Args:
        weights: theirs.
        layers: what stands before the layers' numbers.

    Raises:
        CheckpointError: when the tensors that tell it are missing.
    """
    known = {name.removeprefix("model."): weight for name, weight in weights.items()}
    try:
        width, lanes = known["action_in_proj.weight"].shape
        mlp = known[f"{layers}.0.mlp.gate_proj.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint has no action expert that could be measured ({error}); fetch it again."
        ) from error
    count = len(layers.split("."))
    numbers = {name.split(".")[count] for name in known if name.startswith(f"{layers}.")}
    return {"width": width, "layers": len(numbers), "mlp": mlp, "lanes": lanes}
