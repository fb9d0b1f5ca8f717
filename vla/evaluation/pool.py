"""The parent's side of an evaluation: hands out episodes, batches the inference.

One world per worker process and no threads: on few cores the operating system
interleaves processes better than an interpreter lock interleaves threads, and a
GL context never has to change hands.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import perf_counter
from typing import Any

from vla import errors
from vla.contract import Policy
from vla.errors import ShapeError, VlaError
from vla.evaluation.episode_queue import EpisodeQueue
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.videos import FilmChoice
from vla.evaluation.worker import Ask, Episode, Failed, Plan, SaveFilm, work
from vla.runtime.config import ControlConfig

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")


@dataclass(kw_only=True, slots=True)
class Timing:
    """What the run spent its time on.

    Attributes:
        seconds: wall time, start of the processes included.
        inference_seconds: of it inside `policy.act`.
        batches, plans: calls of `policy.act`, and rows that were used of them.
        steps: control ticks of all episodes.
    """

    seconds: float = 0.0
    inference_seconds: float = 0.0
    batches: int = 0
    plans: int = 0
    steps: int = 0


@dataclass(kw_only=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    episode: Episode | None = None
    ask: Ask | None = None


@dataclass(kw_only=True)
class Pool:
    """Runs episodes in `workers` processes with the policy in this one.

    Attributes:
        policy: asked in batches of exactly `batch` observations (short ones are filled up
            by repeating the first), so that the same kernels run whoever is waiting.
        world: picklable config with `build(task) -> World`.
        control, max_steps: how episodes are run; `max_steps` 0 means no limit.
        films: chooses after each episode where to film it to, or None.
        skip: tasks whose episodes are not needed any more, see `EpisodeQueue`.
    """

    policy: Policy
    world: Any
    control: ControlConfig
    workers: int
    batch: int
    max_steps: int
    films: FilmChoice
    skip: Callable[[str], bool] | None = None
    timing: Timing = field(default_factory=Timing)

    def run(self, episodes: Iterable[tuple[str, int]]) -> Iterator[EpisodeResult]:
        """Yield each (task, seed)'s result as it ends, in any order.

        Raises:
            VlaError: naming task and seed, when an episode could not be run.
        """
        queue = EpisodeQueue(episodes, self.skip)
        begun = perf_counter()
        workers = [self._start(number) for number in range(min(self.workers, len(queue)))]
        try:
            for worker in workers:
                self._assign(worker, queue)
            yield from self._serve(workers, queue)
            for worker in workers:
                _finish(worker)
        finally:
            for worker in workers:
                worker.process.terminate()
                worker.process.join()
                worker.connection.close()
            self.timing.seconds = perf_counter() - begun

    def _serve(self, workers: list[_Worker], queue: EpisodeQueue) -> Iterator[EpisodeResult]:
        """Answer the workers until nobody is busy."""
        waiting: deque[_Worker] = deque()
        patience = 0.0
        while busy := [worker for worker in workers if worker.episode is not None]:
            # A batch that is not full waits for busy workers as long as the last batch took:
            # then waiting never costs more than the second batch it may save.
            full = len(waiting) >= self.batch
            quiet = full or len(waiting) == len(busy)
            thinking = {worker.connection: worker for worker in busy if worker.ask is None}
            timeout = 0.0 if quiet else patience if waiting else None
            ready = wait(list(thinking), timeout)
            for connection in ready:
                worker = thinking[connection]
                message = _receive(worker)
                if isinstance(message, Ask):
                    worker.ask = message
                    waiting.append(worker)
                else:
                    self.timing.steps += message.steps
                    if path := self.films.choose(message):
                        _send(worker, SaveFilm(str(path)))
                    self._assign(worker, queue)
                    yield message
            if waiting and (full or not ready):
                patience = self._answer(waiting)

    def _answer(self, waiting: deque[_Worker]) -> float:
        """Plan for the longest-waiting workers, one batch of them; the seconds it took.

        Those who know of as many rows of their last plans as the first: a policy handles others
        in a pass of their own, and a result must not depend on who shares its pass.
        """
        told = _count_told(waiting[0])
        served = [worker for worker in waiting if _count_told(worker) == told][: self.batch]
        for worker in served:
            waiting.remove(worker)
        fill = served[:1] * (self.batch - len(served))
        asks = [worker.ask for worker in served + fill if worker.ask is not None]
        begun = perf_counter()
        chunks = self.policy.act(
            [ask.observation for ask in asks], seeds=[ask.seed for ask in asks]
        )
        seconds = perf_counter() - begun
        if len(chunks) != len(asks):
            raise ShapeError(f"The policy made {len(chunks)} plans for {len(asks)} observations.")
        self.timing.inference_seconds += seconds
        self.timing.batches += 1
        self.timing.plans += len(served)
        for worker, chunk in zip(served, chunks, strict=False):
            worker.ask = None
            _send(worker, Plan(chunk, 1000 * seconds))
        return seconds

    def _assign(self, worker: _Worker, queue: EpisodeQueue) -> None:
        last = worker.episode.task if worker.episode else None
        following = queue.take(last)
        worker.episode = None
        if following is not None:
            worker.episode = Episode(*following, film=self.films.wanted(following[0]))
        _send(worker, worker.episode)

    def _start(self, number: int) -> _Worker:
        context = get_context("spawn")
        mine, theirs = context.Pipe()
        policy = self.policy
        arguments = (
            theirs,
            policy.embodiment,
            policy.history,
            self.world,
            self.control,
            self.max_steps,
        )
        process = context.Process(
            target=work, args=arguments, name=f"vla-world-{number}", daemon=True
        )
        with _one_thread_each():
            process.start()
        theirs.close()
        return _Worker(process=process, connection=mine)


def _count_told(worker: _Worker) -> tuple[int, int]:
    """How many pending and tentative rows its question holds."""
    if worker.ask is None:
        return 0, 0
    seen = worker.ask.observation
    pending, tentative = (
        0 if rows is None else len(rows) for rows in (seen.pending, seen.tentative)
    )
    return pending, tentative


def _send(worker: _Worker, message: Any) -> None:
    try:
        worker.connection.send(message)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _explain_death(worker) from error


def _receive(worker: _Worker) -> Ask | EpisodeResult:
    try:
        message = worker.connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise _explain_death(worker) from error
    if isinstance(message, Failed):
        raise _rebuild(message, _describe(worker))
    return message


def _finish(worker: _Worker) -> None:
    """Wait for the end of a worker that has no more episodes; it may still save a film."""
    worker.process.join()
    if worker.process.exitcode == 0:
        return
    if worker.connection.poll():
        _receive(worker)
    raise _explain_death(worker)


def _explain_death(worker: _Worker) -> VlaError:
    worker.process.join(timeout=5)
    return VlaError(
        f"{_describe(worker)}: its worker process died (exit code {worker.process.exitcode}; a "
        "negative number is a signal, -9 often means out of memory). Finished episodes are "
        "kept; run again to go on."
    )


def _describe(worker: _Worker) -> str:
    if worker.episode is None:
        return f"{worker.process.name}, after its last episode"
    return f"Episode task={worker.episode.task!r} seed={worker.episode.seed}"


def _rebuild(failed: Failed, where: str) -> VlaError:
    """The worker's error, of its own kind when the tree has it, else with the traceback."""
    kind = getattr(errors, failed.error, None)
    if not (isinstance(kind, type) and issubclass(kind, VlaError)):
        return VlaError(f"{where} could not be run: {failed.error}: {failed.text}\n{failed.trace}")
    if kind is errors.UnknownChoice:  # its constructor takes no message
        kind = errors.ConfigError
    return kind(f"{where} could not be run: {failed.text}")


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Environment in which a starting process keeps to one thread, unless the user said else."""
    added = [name for name in ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def inference_threads(count: int) -> Iterator[None]:
    """Give the policy `count` CPU threads while it is evaluated; 0 changes nothing.

    Torch is not imported for it: a policy that uses torch has loaded it.
    """
    torch = sys.modules.get("torch")
    if torch is None or count == 0:
        yield
        return
    before: int = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
