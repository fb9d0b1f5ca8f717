"""When the numbers go bad: keep the evidence, then stop."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla.errors import TrainingError
from vla.files import complete_folder, write_json
from vla.training.weights import save_tensors


def require_finite(
    loss: float, norm: float, *, step: int, batches: Sequence[Any], policy: nn.Module, folder: Path
) -> None:
    """Stop before a non-finite update reaches the weights.

    Args:
        loss: of this step.
        norm: of its gradient, before clipping.
        step: the update being made, counted from 1.
        batches: the step's micro-batches as the policy saw them, dataclasses of tensors.
        policy: still holds the gradients.
        folder: the run's; the evidence goes to `folder/nan-step-00000123/`.

    Raises:
        TrainingError: naming the evidence and the usual causes.
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return
    evidence = folder / f"nan-step-{step:08d}"
    samples = 0
    with complete_folder(evidence) as draft:
        reports = []
        for index, batch in enumerate(batches):
            tensors = _tensors(batch)
            save_tensors(draft / f"batch-{index}.safetensors", tensors)
            reports.append(_describe(batch, tensors))
            samples += sum(bool(sample["non_finite"]) for sample in reports[-1]["samples"])
        report = {
            "step": step,
            "loss": str(loss),
            "gradient_norm": str(norm),
            "non_finite_parameters": _non_finite(dict(policy.named_parameters())),
            "non_finite_gradients": _non_finite(
                {n: p.grad for n, p in policy.named_parameters() if p.grad is not None}
            ),
            "batches": reports,
        }
        write_json(draft / "report.json", report)
    raise TrainingError(
        f"Step {step}: loss {loss}, gradient norm {norm}; {samples} sample(s) hold non-finite "
        f"inputs. The batch is in {evidence}. Resume from the last checkpoint with a lower "
        "training.learning_rate or training.clip_norm, or mend the samples that report.json names."
    )


def _tensors(batch: Any) -> dict[str, Tensor]:
    """The tensors of a dataclass of tensors and of dicts of tensors, as "field" or "field.key"."""
    tensors = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for key, entry in entries:
            if isinstance(entry, Tensor):
                tensors[f"{field.name}.{key}".rstrip(".")] = entry.clone()
    return tensors


def _describe(batch: Any, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Per sample: its instruction, which tensors are not finite, and the largest magnitudes."""
    instructions = getattr(batch, "instruction", None) or [""] * len(batch)
    samples = []
    for index, instruction in enumerate(instructions):
        rows = {name: tensor[index].float() for name, tensor in tensors.items()}
        largest = {name: row.nan_to_num(0, 0, 0).abs().max().item() for name, row in rows.items()
                   if row.numel()}  # fmt: skip
        samples.append(
            {"instruction": instruction, "non_finite": _non_finite(rows), "largest": largest}
        )
    return {"samples": samples}


def _non_finite(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
