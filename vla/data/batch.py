"""The Batch: what one training step consumes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B windows as tensors. T history steps, H rows, S state axes, A action axes.

    Attributes:
        images: per camera uint8 (B, T, H, W, 3), RGB, newest step last.
        state: float32 (B, T, S), axes and units as `Embodiment.state` says; NaN where a sample
            is of no robot, which policies take for the middle of the range.
        instruction: B texts.
        actions: float32 (B, H, A), row 0 is due at the present step.
        mask: float32 (B, H, A), 1 for real entries, 0 for padding past the episode's end.
        labels: per name float32 (B, K), at the present step; NaN where unknown.
        member: int64 (B,), which body of a family each sample is of; None for a single body.
        reply: B texts that the policy is to write: the answer where `instruction` is a question
            about a picture (whose mask is 0), the plan before the actions of a robot; "" where
            nothing is to be said. None when no sample has any.
    """

    images: dict[str, Tensor]
    state: Tensor
    instruction: list[str]
    actions: Tensor
    mask: Tensor
    labels: dict[str, Tensor]
    member: Tensor | None = None
    reply: list[str] | None = None

    def __len__(self) -> int:
        return self.actions.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device.

        From pinned memory to a GPU the copies run on beside the CPU, in order with what the
        GPU is given next; images travel as bytes, a quarter of what floats would take.
        """
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory (what is there already stays); needs CUDA."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(
            images={name: change(image) for name, image in self.images.items()},
            state=change(self.state),
            instruction=self.instruction,
            actions=change(self.actions),
            mask=change(self.mask),
            labels={name: change(label) for name, label in self.labels.items()},
            member=None if self.member is None else change(self.member),
            reply=self.reply,
        )
