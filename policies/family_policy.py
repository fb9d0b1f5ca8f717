"""One policy for several bodies: a VlaPolicy in the family's joint, normalised slots.

Each body keeps the statistics of its own data: states are normalised by them on the way in
and plans restored on the way out. Slots a body has no axis for are learned as 0, as in pi0
(arXiv:2410.24164), so that sampling stays where training was. With relative actions a slot
that bodies share may be told from the state for one of them and be absolute for another
that does not sense it; their own statistics bring both to the same range.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from policies.config import VlaPolicyConfig
from policies.normalizer import Normalizer
from policies.relative import Pairs, pair, to_absolute, to_relative
from policies.vla_policy import VlaPolicy, require_known
from vla.embodiment import Axis, Embodiment
from vla.errors import ShapeError
from vla.family import Family
from vla.types import ActionChunk, Float32, Observation

if TYPE_CHECKING:
    from vla.data.batch import Batch
    from vla.data.stats import Statistics


class FamilyPolicy(nn.Module):
    """`vla.contract.Policy` for the body chosen by `become`, the first of the family at first.

    Args:
        config: of the policy inside.
        family: the bodies.
        statistics: of each member's training data; None when weights are about to be loaded.

    Raises:
        StatisticsError: when statistics do not fit, naming body and axis.
        ConfigError: when `bounded_axes` names an axis that no body has, or actions shall be
            relative and no body has an action axis that they can be told from.
    """

    def __init__(
        self,
        config: VlaPolicyConfig,
        family: Family,
        statistics: "Sequence[Statistics] | None",
    ):
        super().__init__()
        self.family = family
        self.history, self.horizon = config.history, config.horizon
        # Bounds that a member's axes are scaled by belong to its own normalizers; so does what
        # its actions are told from: the inner policy's states and actions are pure numbers.
        require_known(config, family.members)
        plain = replace(config, bounded_axes=[], relative_actions=False)
        self.inner = VlaPolicy(plain, family.joint, None)
        self.inner.state_normalizer.pass_through()
        self.inner.action_normalizer.pass_through()
        self._pairs = pair(family.members, relative=config.relative_actions)
        self._joint_pairs = [
            pairs.placed(family.slots("action", index), family.slots("state", index))
            for index, pairs in enumerate(self._pairs)
        ]
        told = [p.axes(body) for p, body in zip(self._pairs, family.members, strict=True)]
        self.state = JointNormalizer(family, "state", [b.state for b in family.members], config)
        self.action = JointNormalizer(family, "action", told, config)
        for index, known in enumerate(statistics or []):
            self._pairs[index].require(known, family.members[index], config.horizon)
            self.state.members[index].fill(known.state)
            self.action.members[index].fill(known.action)
        self._member = 0

    @property
    def embodiment(self) -> Embodiment:
        """The body it drives now."""
        return self.family.deployed(self._member)

    def become(self, body: Embodiment) -> None:
        """Drive `body` from now on. Raises EmbodimentMismatch when it is not of the family."""
        self._member = self.family.find(body)

    def loss(
        self, batch: "Batch", *, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `VlaPolicy.loss`; `batch` is in joint slots and names each sample's member."""
        if batch.member is None:
            raise ShapeError("The batch does not say which body it is of; use a MixtureLoader.")
        absent = (batch.mask == 0).all(dim=1, keepdim=True)  # (B, 1, A): no such axis, or no row
        real = batch.mask.amax(dim=2, keepdim=True)  # (B, H, 1): a row of the episode
        told = batch.actions.clone()
        for index in batch.member.unique().tolist():
            mine = batch.member == index
            present = batch.state[mine][:, -1].nan_to_num()
            told[mine] = to_relative(told[mine], present, self._joint_pairs[index])
        actions = self.action(told, batch.member).masked_fill(absent, 0.0)
        texts = [
            self._speak(words, member)
            for words, member in zip(batch.instruction, batch.member.tolist(), strict=True)
        ]
        joint = replace(
            batch,
            state=self.state(batch.state, batch.member),
            actions=actions,
            mask=real.expand_as(actions).contiguous(),
            instruction=texts,
        )
        return self.inner.loss(joint, generator=generator)

    def after_update(self, step: int) -> None:
        """See `VlaPolicy.after_update`."""
        self.inner.after_update(step)

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """One chunk per observation of the present body; see `Policy.act`.

        Raises:
            ShapeError: when an observation is out of contract.
        """
        chunks = self.inner.act([self._enter(one) for one in observations], seeds=seeds)
        return [self._leave(chunk, one) for chunk, one in zip(chunks, observations, strict=True)]

    def _enter(self, observation: Observation) -> Observation:
        """An observation of the present body, in joint slots and roles, normalised."""
        index = self._member
        body = self.family.members[index]
        steps = observation.state.shape[0]
        if observation.state.shape[1] != len(body.state):
            raise ShapeError(
                f"State has {observation.state.shape[1]} axes; {body.name!r} has {len(body.state)}."
            )
        images = {}
        for role, names in self.family.views.items():
            if names[index] and names[index] not in observation.images:
                raise ShapeError(
                    f"The observation lacks camera {names[index]!r} (it has: "
                    f"{', '.join(sorted(observation.images)) or 'none'})."
                )
            if names[index]:
                images[role] = observation.images[names[index]]
            else:
                images[role] = np.zeros((steps, *self.family.sizes[role], 3), np.uint8)
        return replace(
            observation,
            images=images,
            depth={},
            state=self.state.enter(observation.state, index),
            instruction=self._speak(observation.instruction, index),
            pending=self._enter_rows("pending", observation),
            tentative=self._enter_rows("tentative", observation),
        )

    def _enter_rows(self, what: str, observation: Observation) -> Float32 | None:
        """Its `pending` or `tentative` rows in joint slots, normalised."""
        rows, body = getattr(observation, what), self.family.members[self._member]
        if rows is None:
            return None
        if rows.shape[1] != len(body.action):
            raise ShapeError(
                f"The {what} rows have {rows.shape[1]} axes; {body.name!r} has {len(body.action)}."
            )
        return self.action.enter(self._told(to_relative, rows, observation), self._member)

    def _leave(self, chunk: ActionChunk, observation: Observation) -> ActionChunk:
        """A plan in the present body's own axes and units, within its bounds."""
        axes = self.family.members[self._member].action
        told = self.action.leave(chunk.actions, self._member)
        rows = self._told(to_absolute, told, observation)
        low, high = (
            np.array([getattr(a, key) for a in axes], np.float32) for key in ("low", "high")
        )
        rows = np.clip(rows, low, high)
        if observation.pending is not None:
            rows[: len(observation.pending)] = observation.pending  # exactly, unrounded
        return ActionChunk(actions=rows, time=chunk.time)

    def _told(
        self, way: Callable[[Tensor, Tensor, Pairs], Tensor], rows: Float32, seen: Observation
    ) -> Float32:
        """Rows (n, D) of the present body, told `way` from where `seen` says that it is."""
        present = torch.from_numpy(seen.state[-1])
        return way(torch.from_numpy(rows), present, self._pairs[self._member]).numpy()

    def _speak(self, instruction: str, member: int) -> str:
        """The instruction, after the body's name when there are several."""
        if len(self.family.members) == 1:
            return instruction
        return f"{self.family.members[member].name}: {instruction}"


class JointNormalizer(nn.Module):
    """The members' normalizers of "state" or "action", applied in joint slots.

    `axes` are each member's, in the order of its own vector.
    """

    def __init__(
        self,
        family: Family,
        what: str,
        axes: Sequence[tuple[Axis, ...]],
        config: VlaPolicyConfig,
    ):
        super().__init__()
        self.width = len(getattr(family.joint, what))
        self.slots = [
            torch.from_numpy(family.slots(what, index)) for index in range(len(family.members))
        ]
        self.members = nn.ModuleList()
        for body, mine in zip(family.members, axes, strict=True):
            bounded = [a.name for a in mine if a.name in config.bounded_axes]
            self.members.append(
                Normalizer(
                    mine,
                    what=f"{what} of {body.name!r}",
                    mode=config.normalization,
                    bounded=bounded,
                )
            )

    def forward(self, x: Tensor, member: Tensor) -> Tensor:
        """Normalise (B, n, W) of the members (B,); slots without an axis stay 0."""
        result = torch.zeros_like(x)
        for index in member.unique().tolist():
            mine = member == index
            slots = self.slots[index].to(x.device)
            part = result[mine]
            part[..., slots] = self.members[index](x[mine][..., slots])
            result[mine] = part
        return result

    def enter(self, values: np.ndarray, member: int) -> np.ndarray:
        """Rows of one body, float32 (n, D), to normalised joint rows (n, W)."""
        result = np.zeros((len(values), self.width), np.float32)
        device = self.members[member].center.device
        with torch.inference_mode():
            normalised = self.members[member](torch.from_numpy(values).to(device))
        result[:, self.slots[member].numpy()] = normalised.cpu().numpy()
        return result

    def leave(self, values: np.ndarray, member: int) -> np.ndarray:
        """Normalised joint rows (n, W) to rows of one body, float32 (n, D)."""
        device = self.members[member].center.device
        own = torch.from_numpy(values[:, self.slots[member].numpy()]).to(device)
        with torch.inference_mode():
            return self.members[member].inverse(own).cpu().numpy()
