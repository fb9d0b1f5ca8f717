"""One process, one world: runs the episodes it is given, asks the parent for every plan.

The rollout and the controller are those of a robot. Only the policy is a stand-in,
`PipePolicy`, that sends its observations to the parent, where requests of all
workers meet in one batch.
"""

import hashlib
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vla.contract import World
from vla.embodiment import Embodiment
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.probes import SeamMeter
from vla.evaluation.videos import Film
from vla.runtime.config import ControlConfig
from vla.runtime.rollout import rollout
from vla.types import ActionChunk, Observation


@dataclass(frozen=True, slots=True)
class Ask:
    """Worker to parent: plan for this."""

    observation: Observation
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Parent to worker: the answer to `Ask`, and how long its batch took."""

    chunk: ActionChunk
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Episode:
    """Parent to worker: run this; `film` keeps its frames until the next one."""

    task: str
    seed: int
    film: bool


@dataclass(frozen=True, slots=True)
class SaveFilm:
    """Parent to worker: encode the episode that has just ended."""

    path: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to parent, last words: an episode that could not be run is not a failed episode."""

    error: str
    text: str
    trace: str


@runtime_checkable
class Counting(Protocol):
    """A world that counts more than success, e.g. grasps of the wrong object."""

    def figures(self) -> dict[str, float]:
        """Counts of the running episode by name."""
        ...


class PipePolicy:
    """A `vla.contract.Policy` whose plans are made at the other end of a pipe."""

    def __init__(self, connection: Connection, embodiment: Embodiment, history: int):
        self.embodiment = embodiment
        self.history = history
        self.milliseconds: list[float] = []
        self._connection = connection

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """See `vla.contract.Policy.act`; blocks until the parent has answered."""
        chunks = []
        for observation, seed in zip(observations, seeds, strict=True):
            self._connection.send(Ask(observation, seed))
            plan: Plan = self._connection.recv()
            self.milliseconds.append(plan.milliseconds)
            chunks.append(plan.chunk)
        return chunks


class Worker:
    """Runs episodes in one world at a time, which it keeps while the task stays the same."""

    def __init__(self, policy: PipePolicy, world: Any, control: ControlConfig, max_steps: int):
        """`world` is a world config with `build(task) -> World`; `max_steps` 0 means no limit."""
        self._policy = policy
        self._world_config = world
        self._control = control
        self._max_steps = max_steps or None
        self._world: World | None = None
        self._task = ""
        self.film: Film | None = None

    def run(self, episode: Episode) -> EpisodeResult:
        """Run one episode to its end; frames stay in `film` when they were asked for."""
        world = self._prepare(episode.task)
        controller = self._control.build(self._policy)
        self.film = Film(hz=world.embodiment.hz) if episode.film else None
        self._policy.milliseconds.clear()
        begun = perf_counter()
        actions = hashlib.sha256()
        seams = SeamMeter(world.embodiment)
        ticks = rollout(world, controller, seed=episode.seed, max_steps=self._max_steps)
        begin = last = next(ticks)  # there is always one
        for last in chain([begin], ticks):
            actions.update(np.ascontiguousarray(last.action).tobytes())
            seams.add(last.action, len(self._policy.milliseconds))
            if self.film is not None:
                self.film.add(last.observation)
        times = self._policy.milliseconds
        counts = world.figures() if isinstance(world, Counting) else {}
        first, outcome = begin.observation, last.outcome
        if self.film is not None:
            self.film.add(last.next_observation)
            self.film.caption(first.instruction, outcome, steps=last.index + 1)
        return EpisodeResult(
            task=episode.task,
            seed=episode.seed,
            instruction=first.instruction,
            success=bool(outcome.success),
            steps=last.index + 1,
            reason=outcome.reason or ("" if outcome.ended else "out of steps"),
            first_frame=hash_images(first),
            actions=actions.hexdigest(),
            seconds=round(perf_counter() - begun, 4),
            inference_ms=round(sum(times) / len(times), 3) if times else 0.0,
            plans=len(times),
            figures={k: round(v, 6) for k, v in {**seams.figures(), **counts}.items()},
        )

    def _prepare(self, task: str) -> World:
        if self._world is not None and task == self._task:
            return self._world
        self.close()
        world: World = self._world_config.build(task)
        self._world, self._task = world, task
        self._policy.embodiment.require(world.embodiment, mine="policy", theirs="world")
        return world

    def close(self) -> None:
        """Close the world, if there is one."""
        if self._world is not None:
            self._world.close()
        self._world = None


def work(
    connection: Connection,
    embodiment: Embodiment,
    history: int,
    world: Any,
    control: ControlConfig,
    max_steps: int,
) -> None:
    """Main function of a worker process: serve `connection` until it sends None."""
    worker = Worker(PipePolicy(connection, embodiment, history), world, control, max_steps)
    try:
        while (order := connection.recv()) is not None:
            if not isinstance(order, SaveFilm):
                connection.send(worker.run(order))
            elif worker.film is not None:
                worker.film.save(order.path)
    except Exception as error:
        with suppress(OSError):  # when the parent is gone there is nobody left to tell
            connection.send(Failed(type(error).__name__, str(error), traceback.format_exc()))
        raise SystemExit(1) from error
    finally:
        worker.close()


def hash_images(observation: Observation) -> str:
    """SHA-256 over all cameras' names, shapes and pixels, hex."""
    digest = hashlib.sha256()
    for name in sorted(observation.images):
        image = np.ascontiguousarray(observation.images[name])
        digest.update(f"{name}{image.shape}".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()
