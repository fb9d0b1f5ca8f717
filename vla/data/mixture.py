"""Batches from several stores, in the joint slots of the bodies they are of."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vla.data.batch import Batch
from vla.data.loader import prefetch
from vla.data.sampling import MixtureSampler
from vla.data.window_reader import WindowReader
from vla.family import Family

Int64 = NDArray[np.int64]


class MixtureLoader:
    """Batches of windows from several stores, in the family's joint slots.

    Step s reads draws s * R * B + r * B and on, of rank r of R: together the ranks read what
    one process with batches of R * B would.

    Args:
        readers: of each store, equal history and horizon, pictures at the family's size.
        members: which member of the family each store is of.
        views: per store, its camera's name for each role; "" where it has none.
        family: the bodies.
        weights: of the stores, relative; see MixtureSampler.
        batch_size: B, per rank.
        seed: at least 0.
        threads: how many prepare batches ahead; 0 for none.
        rank, ranks: this process among those that train together.
        pin_memory: see WindowLoader.
    """

    def __init__(
        self,
        readers: Sequence[WindowReader],
        members: Sequence[int],
        views: Sequence[Mapping[str, str]],
        family: Family,
        *,
        weights: Sequence[float],
        batch_size: int,
        seed: int,
        threads: int = 1,
        rank: int = 0,
        ranks: int = 1,
        pin_memory: bool = False,
    ):
        self._readers = list(readers)
        self._members = list(members)
        self._views = list(views)
        self._family = family
        self._sampler = MixtureSampler([len(reader) for reader in readers], weights, seed)
        self._batch_size = batch_size
        self._threads = threads
        self._rank, self._ranks = rank, ranks
        self._pin = pin_memory and torch.cuda.is_available()

    def __len__(self) -> int:
        """Windows over all stores."""
        return sum(len(reader) for reader in self._readers)

    @property
    def shares(self) -> NDArray[np.float64]:
        """The probability of each store, float64 (stores,)."""
        return self._sampler.shares

    def draws(self, step: int) -> tuple[Int64, Int64]:
        """Store and window (B,) of each sample of batch `step`."""
        first = (step * self._ranks + self._rank) * self._batch_size
        return self._sampler.draw(first + np.arange(self._batch_size, dtype=np.int64))

    def batch(self, step: int) -> Batch:
        """Batch number `step`, from 0. Raises DataError when a frame cannot be read."""
        stores, windows = self.draws(step)
        rows, parts = [], []
        for store in np.unique(stores).tolist():
            here = np.flatnonzero(stores == store)
            rows.append(torch.from_numpy(here))
            part = self._readers[store].read(windows[here])
            parts.append(to_joint(part, self._family, self._members[store], self._views[store]))
        batch = assemble(parts, rows)
        return batch.pin_memory() if self._pin else batch

    def iterate(self, start_step: int) -> Iterator[Batch]:
        """Batches `start_step`, `start_step` + 1, ... without end, prepared ahead, in order."""
        return prefetch(self.batch, start_step, self._threads)


def to_joint(batch: Batch, family: Family, member: int, views: Mapping[str, str]) -> Batch:
    """A batch of one body in the family's joint slots, still in SI units.

    Slots the body has no axis for hold 0 and have mask 0; cameras are renamed to their roles,
    black where `views` names none. Pictures must come at the family's size.
    """
    joint = family.joint
    state = batch.state.new_zeros((*batch.state.shape[:2], len(joint.state)))
    state[..., family.slots("state", member)] = batch.state
    steps = batch.state.shape[:2]
    shape = (*batch.actions.shape[:2], len(joint.action))
    actions, mask = batch.actions.new_zeros(shape), batch.mask.new_zeros(shape)
    slots = family.slots("action", member)
    actions[..., slots], mask[..., slots] = batch.actions, batch.mask
    images = {}
    for role, name in views.items():
        if name:
            images[role] = batch.images[name]
        else:
            images[role] = torch.zeros((*steps, *family.sizes[role], 3), dtype=torch.uint8)
    return Batch(
        images=images,
        state=state,
        instruction=batch.instruction,
        actions=actions,
        mask=mask,
        labels=batch.labels,
        member=torch.full((len(batch),), member),
        reply=batch.reply,
    )


def assemble(parts: list[Batch], rows: list[torch.Tensor]) -> Batch:
    """One batch whose samples `rows[i]` are those of `parts[i]`.

    A label that some parts lack is NaN there, which losses take for unknown.
    """
    order = torch.argsort(torch.cat(rows))
    members = [part.member for part in parts if part.member is not None]
    widths = {name: label.shape[1] for part in parts for name, label in part.labels.items()}
    words = [text for part in parts for text in part.instruction]
    spoken = [text for part in parts for text in part.reply or [""] * len(part)]

    def join(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tensors)[order]

    def label(part: Batch, name: str) -> torch.Tensor:
        unknown = torch.full((len(part), widths[name]), torch.nan)
        return part.labels.get(name, unknown)

    return Batch(
        images={role: join([part.images[role] for part in parts]) for role in parts[0].images},
        state=join([part.state for part in parts]),
        instruction=[words[i] for i in order.tolist()],
        actions=join([part.actions for part in parts]),
        mask=join([part.mask for part in parts]),
        labels={name: join([label(part, name) for part in parts]) for name in sorted(widths)},
        member=join(members) if members else None,
        reply=[spoken[i] for i in order.tolist()] if any(part.reply for part in parts) else None,
    )
