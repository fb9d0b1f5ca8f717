"""The Batch: what one training step consumes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B windows as tensors. T history steps, H rows, S state axes, A action axes.

    Attributes:
        images: per camera uint8 (B, T, H, W, 3), RGB, newest step last.
        state: float32 (B, T, S), axes and units as `Embodiment.state` says.
        instruction: B texts.
        actions: float32 (B, H, A), row 0 is due at the present step.
        mask: float32 (B, H, A), 1 for real entries, 0 for padding past the episode's end.
        labels: per name float32 (B, K), at the present step; NaN where unknown.
        member: int64 (B,), which body of a family each sample is of; None for a single body.
    """

    images: dict[str, Tensor]
    state: Tensor
    instruction: list[str]
    actions: Tensor
    mask: Tensor
    labels: dict[str, Tensor]
    member: Tensor | None = None

    def __len__(self) -> int:
        return self.actions.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device (asynchronous where the device allows it)."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            images={name: move(image) for name, image in self.images.items()},
            state=move(self.state),
            instruction=self.instruction,
            actions=move(self.actions),
            mask=move(self.mask),
            labels={name: move(label) for name, label in self.labels.items()},
            member=None if self.member is None else move(self.member),
        )
