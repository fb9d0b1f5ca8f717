"""Tasks times seeds, in parallel, each episode with the rollout and controller of a robot."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from vla.contract import Policy
from vla.errors import ConfigError
from vla.evaluation.early import EarlyFinish
from vla.evaluation.journal import EpisodeResult, Journal
from vla.evaluation.pool import Pool, Timing, inference_threads
from vla.evaluation.provenance import claim_directory, describe_host, describe_setup
from vla.evaluation.result import Evaluation
from vla.evaluation.videos import FilmChoice
from vla.runtime.config import ControlConfig

Progress = Callable[[EpisodeResult, int, int], None]


class Launch(Protocol):
    """Runs episodes somewhere: `pool.Pool` here, `ray_launcher.RayPool` on a cluster."""

    timing: Timing

    def run(self, episodes: Iterable[tuple[str, int]]) -> Iterator[EpisodeResult]:
        """Yield each (task, seed)'s result as it ends, in any order."""
        ...


def evaluate(
    policy: Policy,
    world: Any,
    *,
    tasks: Sequence[str],
    seeds: Sequence[int],
    control: ControlConfig,
    directory: str | Path,
    workers: int = 2,
    batch: int = 2,
    threads: int = 0,
    max_steps: int = 0,
    videos: int = 0,
    provenance: dict[str, Any] | None = None,
    progress: Progress | None = None,
    launch: Launch | None = None,
    early: EarlyFinish | None = None,
) -> Evaluation:
    """Run every task on every seed and keep each outcome.

    Written to `directory`: setup.json (what is measured), episodes.jsonl (one line per
    episode as it ends), videos/, result.json (at the end). A later call with the same setup
    goes on where an earlier one stopped, and may add tasks and seeds.

    An outcome depends on the setup, task and seed only: not on `workers`, not on which other
    episodes share an inference batch (`batch` is fixed and part of the setup).

    Args:
        policy: stays in this process.
        world: picklable config with `build(task: str) -> World`, sent to the workers.
        tasks: names the world knows.
        seeds: every task is run on each of them.
        control: how plans become commands.
        directory: made when it does not exist.
        workers: processes with one world each.
        batch: observations per inference, exactly.
        threads: CPU threads of a torch policy; 0 leaves them as they are.
        max_steps: ticks after which an episode is stopped; 0: only the world ends it.
        videos: successes and failures to film per task, each.
        provenance: JSON values that decide the outcomes and are known to the caller only,
            above all the hash of the policy's weights; part of the setup.
        progress: called with (result, finished, total) after each episode.
        launch: another way to run episodes than a local `Pool`, e.g. `RayPool`; films nothing and
            knows no early finish.
        early: decides which tasks need no more episodes; the result holds what it counts.

    Raises:
        ConfigError: nothing to run.
        DataError: `directory` holds an evaluation of something else.
        EmbodimentMismatch, VlaError: naming task and seed, when an episode could not be run;
            it is not counted as a failure.
    """
    wanted = [(task, int(seed)) for task in tasks for seed in seeds]
    if not wanted or len(set(wanted)) != len(wanted):
        raise ConfigError("Give at least one task and one seed to evaluate, each of them once.")
    if min(workers, batch) < 1 or min(threads, max_steps, videos) < 0:
        raise ConfigError(
            "workers and batch are at least 1; threads, max_steps, videos at least 0."
        )
    directory = Path(directory)
    setup = describe_setup(
        policy,
        world=world,
        control=control,
        batch=batch,
        threads=threads,
        max_steps=max_steps,
        provenance=provenance or {},
    )
    claim_directory(directory, setup)
    journal = Journal(directory / "episodes.jsonl")
    films = FilmChoice(directory, videos)
    missing = [key for key in wanted if key not in journal.episodes]
    for key in wanted:
        if key in journal.episodes:
            films.count(journal.episodes[key])
            if early is not None:
                early.add(journal.episodes[key])
    pool = launch or Pool(
        policy=policy,
        world=world,
        control=control,
        workers=workers,
        batch=batch,
        max_steps=max_steps,
        films=films,
        skip=early.decided if early is not None else None,
    )
    with inference_threads(threads):
        for finished, result in enumerate(pool.run(missing), start=len(wanted) - len(missing) + 1):
            journal.append(result)
            if early is not None:
                early.add(result)
            if progress is not None:
                progress(result, finished, len(wanted))
    if early is not None:
        wanted = [(task, seed) for task in tasks for seed in early.count(task)]
    evaluation = Evaluation(
        episodes=[journal.episodes[key] for key in wanted],
        setup=setup,
        host={**describe_host(), "workers": workers},
        timing={key: round(value, 3) for key, value in asdict(pool.timing).items()},
        directory=directory,
    )
    evaluation.save(directory)
    return evaluation
