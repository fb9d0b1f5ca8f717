"""Episodes over a Ray cluster: shards of (task, seed) go out, results come back to one journal.

The driver alone writes. A shard is idempotent: its outcome depends on the setup, tasks and seeds
only, so a shard whose machine died is simply run again (by Ray, and by the next call for whatever
is still missing). Every worker loads the policy for itself: sending observations over a network
would cost more than the inference of a policy that is small enough to be evaluated this way.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from vla.contract import Policy
from vla.errors import ConfigError, VlaError
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.pool import Pool, Timing, inference_threads
from vla.evaluation.videos import FilmChoice
from vla.runtime.config import ControlConfig

RETRIES = 3
"""How often a shard whose process or machine died is started again."""

PolicyFactory = Callable[[], Policy]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """What a worker needs to run episodes; all of it picklable.

    Attributes:
        factory: loads the policy, there.
        world, control, batch, threads, max_steps: see `evaluate`.
    """

    factory: PolicyFactory
    world: Any
    control: ControlConfig
    batch: int
    threads: int
    max_steps: int

    def run(self, episodes: list[tuple[str, int]]) -> list[EpisodeResult]:
        """Their results, in any order. Raises VlaError when one cannot be run."""
        with TemporaryDirectory(prefix="vla-shard-") as folder:
            pool = Pool(
                policy=self.factory(),
                world=self.world,
                control=self.control,
                workers=1,
                batch=self.batch,
                max_steps=self.max_steps,
                films=FilmChoice(Path(folder), 0),
            )
            with inference_threads(self.threads):
                return list(pool.run(episodes))


@dataclass(kw_only=True)
class RayPool:
    """Runs episodes like `Pool`, on the cluster at `address`; without films.

    Attributes:
        shard: what every worker needs.
        workers: shards that run at a time, one CPU each.
        address: of a running cluster ("auto", "ray://HOST:10001"); "": one on this machine.
        size: episodes per shard; more of them load the policy less often, and lose more work when
            a machine dies.
        timing: wall time and steps; inference is timed in the episodes.
    """

    shard: Shard
    workers: int
    address: str = ""
    size: int = 16
    timing: Timing = field(default_factory=Timing)

    def run(self, episodes: Iterable[tuple[str, int]]) -> Iterator[EpisodeResult]:
        """Yield each (task, seed)'s result as its shard ends.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster at `address`.
            VlaError: when an episode could not be run, or a shard died too often.
        """
        ray = _import_ray()
        wanted = list(episodes)
        shards = [wanted[start : start + self.size] for start in range(0, len(wanted), self.size)]
        mine = not ray.is_initialized()
        if mine:
            _connect(ray, self.address, self.workers)
        begun = perf_counter()
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(Shard.run)
        running: list[Any] = []
        try:
            for shard in shards:
                running.append(remote.remote(self.shard, shard))
                if len(running) >= self.workers:
                    yield from self._collect(ray, running)
            while running:
                yield from self._collect(ray, running)
        finally:
            self.timing.seconds = perf_counter() - begun
            for reference in running:
                ray.cancel(reference, force=True)
            if mine:
                ray.shutdown()

    def _collect(self, ray: Any, running: list[Any]) -> Iterator[EpisodeResult]:
        """Results of the first shard to end, which leaves `running`."""
        (done,), _ = ray.wait(running, num_returns=1)
        running.remove(done)
        try:
            results: list[EpisodeResult] = ray.get(done)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, VlaError) else VlaError(str(error)) from error
        except ray.exceptions.RayError as error:
            raise VlaError(
                f"A shard of the evaluation died {RETRIES + 1} times ({error}). Finished episodes "
                "are kept; run again to go on."
            ) from error
        for result in results:
            self.timing.steps += result.steps
            self.timing.plans += result.plans
            yield result


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError(
            "launcher=ray needs Ray: pip install ray, or take launcher=local."
        ) from error
    return ray


def _connect(ray: Any, address: str, workers: int) -> None:
    options = {"address": address} if address else {"num_cpus": workers}
    try:
        ray.init(**options, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"There is no Ray cluster at {address!r}: {error}") from error
