"""What the control process and the planning process share: three records, each with one writer.

control ──observations──▶ planner      a ring: the last `RING` observations, whole
planner ──plan──▶ control              the newest plan and its header
planner ──status──▶ control, keeper    signs of life, what was loaded, the last words
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import ContractError, VlaError
from vla.runtime.shared_slot import SharedSlot
from vla.types import ActionChunk, Observation

RING = 8
"""Observations kept for the planner; a policy's history must be shorter."""
MOST_ROWS = 256
"""Longest plan that fits the record."""
UNTOLD = 2**63
"""Instead of the number of a plan: the policy is not told of any, and need not wait for it."""
WORDS = 512
"""Bytes of an instruction or an error that fit."""


def short_hash(text: str) -> int:
    """The first 64 bits of a hexadecimal hash, to compare in one step."""
    return int(text[:16] or "0", 16)


def observation_fields(body: Embodiment) -> list[tuple]:
    """One observation: number (from 1), episode, its seed, time, state, words, pictures.

    `known` are the rows of the last plan that the policy is told of, `pending` the committed
    ones of them and `tentative` the others; `heard` is the newest plan that they know of.
    """
    pictures = [(name, "u1", (c.height, c.width, 3)) for name, c in sorted(body.cameras.items())]
    return [
        ("number", "<u8"),
        ("episode", "<u8"),
        ("seed", "<u8"),
        ("time", "<f8"),
        ("state", "<f4", (len(body.state),)),
        ("instruction", f"S{WORDS}"),
        ("heard", "<u8"),
        ("pending", "<u4"),
        ("tentative", "<u4"),
        ("known", "<f4", (MOST_ROWS, len(body.action))),
        *[(f"image_{name}", *rest) for name, *rest in pictures],
    ]


def plan_fields(body: Embodiment) -> list[tuple]:
    """A plan: id (from 1), episode, observation time, publication time, rate, hashes, rows."""
    return [
        ("id", "<u8"),
        ("episode", "<u8"),
        ("time", "<f8"),
        ("published", "<f8"),
        ("hz", "<f8"),
        ("weights", "<u8"),
        ("contract", "<u8"),
        ("rows", "<u4"),
        ("actions", "<f4", (MOST_ROWS, len(body.action))),
    ]


def status_fields() -> list[tuple]:
    """Process id, whether the policy is loaded, last sign of life, what it needs, last error."""
    return [
        ("pid", "<u8"),
        ("ready", "?"),
        ("beat", "<f8"),
        ("planned", "<u8"),
        ("failures", "<u8"),
        ("history", "<u4"),
        ("rows", "<u4"),
        ("weights", "S64"),
        ("scheduler", "S32"),
        ("error", f"S{WORDS}"),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSlots:
    """The records, opened; close them when done."""

    body: Embodiment
    observations: tuple[SharedSlot, ...]
    plan: SharedSlot
    status: SharedSlot

    @classmethod
    def open(cls, body: Embodiment, names: list[str] | None = None) -> Self:
        """Make the records, or attach to those of `names` (see `names`)."""
        given = iter(names or [])
        fields = [observation_fields(body)] * RING + [plan_fields(body), status_fields()]
        slots = [SharedSlot(each, name=next(given, None)) for each in fields]
        return cls(body=body, observations=tuple(slots[:RING]), plan=slots[-2], status=slots[-1])

    @property
    def names(self) -> list[str]:
        """What another process needs to attach."""
        return [slot.name for slot in (*self.observations, self.plan, self.status)]

    def close(self) -> None:
        """Detach; the maker removes them. Idempotent."""
        for slot in (*self.observations, self.plan, self.status):
            slot.close()

    def show(
        self, observation: Observation, *, number: int, episode: int, seed: int, heard: int
    ) -> None:
        """Put an observation (T == 1) into the ring.

        Raises:
            ContractError: for too many words or rows of the last plan.
        """
        words = observation.instruction.encode()
        if len(words) > WORDS:
            raise ContractError(f"The instruction has {len(words)} bytes; at most {WORDS} fit.")
        rows = [
            np.zeros((0, len(self.body.action)), np.float32) if part is None else part
            for part in (observation.pending, observation.tentative)
        ]
        known = np.zeros((MOST_ROWS, len(self.body.action)), np.float32)
        if sum(map(len, rows)) > MOST_ROWS:
            raise ContractError(
                f"The last plan has {sum(map(len, rows))} rows; {MOST_ROWS} are kept."
            )
        known[: sum(map(len, rows))] = np.concatenate(rows)
        self.observations[number % RING].write(
            number=number,
            episode=episode,
            seed=seed,
            time=observation.time,
            state=observation.state[-1],
            instruction=words,
            heard=heard,
            pending=len(rows[0]),
            tentative=len(rows[1]),
            known=known,
            **{f"image_{n}": observation.images[n][-1] for n in self.body.cameras},
        )

    def newest(self) -> np.void | None:
        """The newest whole observation; None when there is none yet."""
        records = [record for slot in self.observations if (record := slot.peek()) is not None]
        return max(records, key=lambda record: int(record["number"]), default=None)

    def recent(self, steps: int) -> list[Observation]:
        """The last observations of the newest episode, oldest first, `steps` at most."""
        records = [record for slot in self.observations if (record := slot.peek()) is not None]
        if not records:
            return []
        records.sort(key=lambda record: int(record["number"]))
        episode = records[-1]["episode"]
        return [self._read(r) for r in records if r["episode"] == episode][-steps:]

    def publish(
        self, chunk: ActionChunk, *, number: int, episode: int, published: float, weights: str
    ) -> None:
        """Hand a plan over. Raises ContractError when it does not fit the record."""
        rows, axes = chunk.actions.shape
        if rows > MOST_ROWS or axes != len(self.body.action):
            raise ContractError(
                f"The policy planned {rows} rows of {axes} axes; at most {MOST_ROWS} rows of "
                f"{len(self.body.action)} axes fit."
            )
        actions = np.zeros((MOST_ROWS, axes), np.float32)
        actions[:rows] = chunk.actions
        self.plan.write(
            id=number,
            episode=episode,
            time=chunk.time,
            published=published,
            hz=self.body.hz,
            weights=short_hash(weights),
            contract=short_hash(self.body.hash),
            rows=rows,
            actions=actions,
        )

    def _read(self, record: np.void) -> Observation:
        first, rest = int(record["pending"]), int(record["tentative"])
        known = record["known"].copy()
        return Observation(
            images={name: record[f"image_{name}"][None].copy() for name in self.body.cameras},
            state=record["state"][None].copy(),
            instruction=bytes(record["instruction"]).decode(errors="replace"),
            time=float(record["time"]),
            pending=known[:first] if first else None,
            tentative=known[first : first + rest] if rest else None,
        )


def last_words(error: VlaError) -> bytes:
    """An error as it fits the status record."""
    return f"{type(error).__name__}: {error}".encode()[:WORDS]
