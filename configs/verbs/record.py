"""`vla record`: expert demonstrations in simulation become a trajectory store."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from rich.console import Console
from rich.progress import Progress

from configs.jobs import RecordJob
from envs.benchmarks.config import BenchmarkConfig
from envs.config import TabletopConfig
from vla.data.convert.conversion import PendingEpisode, convert
from vla.errors import ConfigError


def main(job: RecordJob) -> None:
    """Record `episodes` successful demonstrations of every task; all of them or none."""
    source = Demonstrations(job)
    with Progress() as bar:
        shown = bar.add_task("recording", total=len(source))
        store = convert(
            source,
            job.output,
            progress=lambda done, total: bar.update(shown, completed=done),
        )
    hint = "metaworld_mt10" if job.world.kind == "metaworld" else "tabletop"
    Console().print(
        f"{store.num_episodes} episodes, {store.num_frames} frames in {job.output}\n"
        f"Next: vla train experiment={hint} data.path={job.output}"
    )


class Demonstrations:
    """A TrajectorySource: the experts of a world at work."""

    def __init__(self, job: RecordJob):
        """Raises ConfigError when the world has no experts."""
        if isinstance(job.world, BenchmarkConfig):
            for task in job.world.tasks:
                job.world.find_expert(task)
        elif not isinstance(job.world, TabletopConfig):
            raise ConfigError(
                f"world={job.world.kind} has no scripted expert to record; use world=tabletop, "
                "or convert demonstrations that you have (`vla convert --help`)."
            )
        self.embodiment = job.world.embodiment()
        self.provenance = {"made_by": "vla record", "job": asdict(job)}
        self._job = job

    def __len__(self) -> int:
        """How many episodes there will be."""
        return self._job.episodes * len(self._job.world.tasks)

    def __iter__(self) -> Iterator[PendingEpisode]:
        """Record them, tasks taking turns."""
        from envs.demonstrations import record_demonstrations

        demonstrations = record_demonstrations(
            self._job.world,
            tasks=self._job.world.tasks,
            episodes_per_task=self._job.episodes,
            seed=self._job.seed,
            noise=self._job.noise,
            workers=self._job.workers,
        )
        for number, trajectory in enumerate(demonstrations):
            yield PendingEpisode(f"demonstration {number}", partial(lambda it: it, trajectory))
