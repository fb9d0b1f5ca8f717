"""Many callers, one policy: observations are gathered, planned in a thread, handed back.

The event loop never computes: it keeps answering pings and noticing who has left while the
one worker thread is inside the policy.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from vla.contract import Policy
from vla.errors import ServingError, VlaError
from vla.serving.metrics import Metrics
from vla.types import ActionChunk, Observation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ticket:
    """One observation that waits for its plan."""

    observation: Observation
    seed: int
    caller: int
    plan: asyncio.Future[ActionChunk]

    @property
    def signature(self) -> tuple:
        """Equal for observations that fit into one call of the policy."""
        seen = self.observation
        arrays = {**seen.images, **{f"depth {name}": depth for name, depth in seen.depth.items()}}
        shapes = tuple(sorted((name, array.shape) for name, array in arrays.items()))
        plans = tuple(
            rows if rows is None else rows.shape for rows in (seen.pending, seen.tentative)
        )
        return shapes, plans


class Batcher:
    """Gathers tickets for a short while and plans for all of them at once.

    A policy plans each observation as if it were alone (vla.contract.Policy), so that
    nobody's plan depends on who else asks.
    """

    def __init__(self, policy: Policy, *, window_s: float, batch: int, metrics: Metrics):
        """Gather for `window_s` seconds or until `batch` tickets are there; `run` does the work."""
        self._policy, self._window, self._batch = policy, window_s, batch
        self._metrics = metrics
        self._queue: asyncio.Queue[Ticket] = asyncio.Queue()

    async def plan(
        self,
        observations: Sequence[Observation],
        seeds: Sequence[int],
        *,
        caller: int,
        wait_s: float,
    ) -> list[ActionChunk]:
        """One plan per observation. When the task is cancelled, its tickets are void.

        Raises:
            ServingError: when the plans are not there after `wait_s` seconds.
        """
        loop = asyncio.get_running_loop()
        tickets = [
            Ticket(observation=seen, seed=seed, caller=caller, plan=loop.create_future())
            for seen, seed in zip(observations, seeds, strict=True)
        ]
        try:
            async with asyncio.timeout(wait_s):
                for ticket in tickets:
                    self._queue.put_nowait(ticket)
                return await asyncio.gather(*(ticket.plan for ticket in tickets))
        except TimeoutError:
            self._metrics.late += 1
            raise ServingError(f"No plan within {wait_s:g} s; the request was dropped.") from None
        except asyncio.CancelledError:
            self._metrics.cancelled += 1
            raise

    async def run(self) -> None:
        """Plan until cancelled."""
        with ThreadPoolExecutor(1, thread_name_prefix="policy") as thread:
            while True:
                groups: dict[tuple, list[Ticket]] = {}
                for ticket in await self._gather():
                    groups.setdefault(ticket.signature, []).append(ticket)
                for tickets in groups.values():
                    await self._work(thread, tickets)

    async def _gather(self) -> list[Ticket]:
        """The next batch; no waiting when every caller has something in it."""
        tickets = [await self._queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._window):
                while True:
                    while len(tickets) < self._batch and not self._queue.empty():
                        tickets.append(self._queue.get_nowait())
                    everybody = len({ticket.caller for ticket in tickets}) >= self._metrics.clients
                    if everybody or len(tickets) == self._batch:
                        break
                    tickets.append(await self._queue.get())
        return tickets

    async def _work(self, thread: ThreadPoolExecutor, tickets: list[Ticket]) -> None:
        """Plan for those who still wait; one bad observation fails its caller only."""
        tickets = [ticket for ticket in tickets if not ticket.plan.done()]
        if not tickets:
            return
        act = partial(
            self._policy.act,
            [ticket.observation for ticket in tickets],
            seeds=[ticket.seed for ticket in tickets],
        )
        began = time.perf_counter()
        call = asyncio.get_running_loop().run_in_executor(thread, act)
        await asyncio.wait({call})
        self._metrics.inference_seconds += time.perf_counter() - began
        self._metrics.batches += 1
        error = call.exception()
        if isinstance(error, VlaError) and len(tickets) > 1:
            for ticket in tickets:
                await self._work(thread, [ticket])
            return
        chunks = [] if error else call.result()
        if not error and len(chunks) != len(tickets):
            error = RuntimeError(f"The policy made {len(chunks)} plans for {len(tickets)}.")
        self._metrics.plans += len(chunks)
        for index, ticket in enumerate(tickets):
            if ticket.plan.done():
                self._metrics.dropped_plans += 1
            elif error:
                ticket.plan.set_exception(error)
            else:
                ticket.plan.set_result(chunks[index])
