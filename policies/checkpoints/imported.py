"""A public policy in our terms: a configuration, a body and weights that fit it exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.config import VlaPolicyConfig
from policies.vla_policy import VlaPolicy
from vla.data.stats import Statistics
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, StatisticsError
from vla.training.weights import module_tensors

_NORMALIZERS = ("state_normalizer.", "action_normalizer.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What a public folder holds.

    Attributes:
        source: the folder, for messages.
        config: of the policy; rebuilds it without the folder, save for its tokenizer (and, for
            OpenVLA, its sizes).
        embodiment: the body it plans for.
        weights: by the names of a `VlaPolicy` of that config and body; its normalisers are
            among them unless the folder has no statistics.
        within: beginnings of names that building the config fills already.
    """

    source: str
    config: VlaPolicyConfig
    embodiment: Embodiment
    weights: dict[str, Tensor]
    within: tuple[str, ...] = ()

    def build(self, statistics: Statistics | None = None) -> VlaPolicy:
        """The policy, filled; nothing is ever loaded in part.

        Args:
            statistics: of other data that it is going to be trained on, in place of its own.

        Raises:
            CheckpointError: when a tensor is missing, left over or of another shape.
            StatisticsError: when there are none at all, or those given do not fit.
        """
        weights = self.weights
        if statistics is not None:
            weights = {k: v for k, v in weights.items() if not k.startswith(_NORMALIZERS)}
        elif not any(name.startswith("action_normalizer.") for name in weights):
            raise StatisticsError(
                f"{self.source!r} comes without normalisation statistics (a base model): it can "
                "be trained on data of yours (`vla train policy=public policy.path=...`), but "
                "not act as it is."
            )
        policy = self.config.build(self.embodiment, statistics)
        self._fill(
            policy,
            weights,
            spared=self.within if statistics is None else (*self.within, *_NORMALIZERS),
        )
        return policy

    def _fill(
        self, policy: VlaPolicy, weights: dict[str, Tensor], *, spared: tuple[str, ...]
    ) -> None:
        targets = {
            name: tensor
            for name, tensor in module_tensors(policy).items()
            if not name.startswith(spared)
        }
        lines = [f"missing: {name}" for name in sorted(targets.keys() - weights.keys())]
        lines += [f"left over: {name}" for name in sorted(weights.keys() - targets.keys())]
        lines += [
            f"{name}: {tuple(weights[name].shape)} there, {tuple(target.shape)} here"
            for name, target in targets.items()
            if name in weights and weights[name].shape != target.shape
        ]
        if lines:
            more = [f"... and {len(lines) - 20} more"] if len(lines) > 20 else []
            raise CheckpointError(
                f"{self.source!r} does not fit; nothing was loaded (names as here):\n  "
                + "\n  ".join(lines[:20] + more)
                + "\nIt is another variant of the model, or not complete: fetch it again."
            )
        with torch.no_grad():
            for name, target in targets.items():
                target.copy_(weights[name])


def make_buffers(name: str, center: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """The three buffers of one normaliser (`policies.normalizer`).

    Args:
        name: "state" or "action".
        center: float (D,).
        scale: float (D,); x = normalised * scale + center.

    Raises:
        StatisticsError: when they are not finite or a scale is not positive.
    """
    center, scale = center.float(), scale.float()
    good = center.isfinite() & scale.isfinite() & (scale > 0)
    if not good.all():
        raise StatisticsError(
            f"The {name} statistics of the axes {(~good).nonzero().flatten().tolist()} cannot be "
            "divided by: the data did not move them, or the file is damaged."
        )
    prefix = f"{name}_normalizer"
    return {
        f"{prefix}.center": center,
        f"{prefix}.scale": scale,
        f"{prefix}.filled": torch.tensor(True),
    }
