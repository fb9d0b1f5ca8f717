"""Plans that go on from the last one: policies told what of it is still to come.

The controller puts the rows of the last plan into the observation (`telling.tell`): those that will
have been carried out before the new plan can be there are `pending`, the rest `tentative`.
What to do with them is the business of a wrapped policy here, or of the head itself. A wrapped
policy is as pure as the one inside, so it runs wherever that one would.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vla.contract import Policy
from vla.runtime.chunking_blends import half_ranges
from vla.runtime.controller import chunk_seed
from vla.types import ActionChunk, Float32, Observation


class Forgetting:
    """A policy told of the pending rows alone, `most` of them at most.

    What a network that was trained with delays wants (training-time real-time chunking,
    arXiv 2512.05964): it has seen so many clean rows and no more.
    """

    def __init__(self, policy: Policy, *, most: int):
        """`most` 0: all."""
        self.embodiment, self.history = policy.embodiment, policy.history
        self._policy, self._most = policy, most

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """See `vla.contract.Policy.act`."""
        return self._policy.act([self._strip(each) for each in observations], seeds=seeds)

    def _strip(self, observation: Observation) -> Observation:
        pending = observation.pending
        if pending is not None and self._most:
            pending = pending[: self._most]
        return replace(observation, pending=pending, tentative=None)


class Bidirectional:
    """Draws several plans and takes the one that goes on best (Liu et al., arXiv 2408.17355).

    Backward coherence: distance from the last plan where both say something, row k weighs
    `decay`^k. Forward contrast, only with a `weak` policy (an early checkpoint of the same
    training): mean distance from the strong plans minus mean distance from the weak ones.
    Distances are Euclidean, in half ranges of the axes. The inner policy is not told of the
    last plan. The first plan is the one that would have been made alone.
    """

    def __init__(self, policy: Policy, *, samples: int, decay: float, weak: Policy | None = None):
        """Costs `samples` plans per plan, in one batch; twice that with a weak policy."""
        self.embodiment, self.history = policy.embodiment, policy.history
        self._policies = [policy] if weak is None else [policy, weak]
        self._samples, self._decay = samples, decay
        self._half = half_ranges(policy.embodiment)

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """See `vla.contract.Policy.act`."""
        plain = [replace(o, pending=None, tentative=None) for o in observations]
        copies = [each for each in plain for _ in range(self._samples)]
        draws = [
            chunk_seed(seed, number) if number else seed
            for seed in seeds
            for number in range(self._samples)
        ]
        plans = [policy.act(copies, seeds=draws) for policy in self._policies]
        groups = range(0, len(copies), self._samples)
        return [
            self._choose(observation, *(each[at : at + self._samples] for each in plans))
            for observation, at in zip(observations, groups, strict=True)
        ]

    def _choose(
        self, observation: Observation, strong: list[ActionChunk], weak: Sequence[ActionChunk] = ()
    ) -> ActionChunk:
        parts = (observation.pending, observation.tentative)
        known = [part for part in parts if part is not None]
        costs = np.zeros(len(strong))
        for number, chunk in enumerate(strong):
            if known:
                costs[number] = self._apart(chunk.actions, np.concatenate(known), self._decay)
            if weak:
                near, far = (
                    np.mean([self._apart(chunk.actions, other.actions) for other in others])
                    for others in (strong, weak)
                )
                costs[number] += near - far
        return strong[int(np.argmin(costs))]

    def _apart(self, first: Float32, second: Float32, decay: float = 1.0) -> float:
        """Sum of the rows' distances, as far as both reach."""
        rows = min(len(first), len(second))
        steps = np.linalg.norm((first[:rows] - second[:rows]) / self._half, axis=1)
        return float(decay ** np.arange(rows) @ steps)
