"""`vla record`: expert demonstrations in simulation become a trajectory store."""

from dataclasses import asdict

from rich.console import Console
from rich.progress import track

from configs.schemas import RecordJob
from vla.errors import ConfigError


def main(job: RecordJob) -> None:
    """Record `episodes` successful demonstrations of every task of the world."""
    from envs.config import TabletopConfig
    from envs.demonstrations import record_demonstrations
    from vla.data.store import TrajectoryStore

    if not isinstance(job.world, TabletopConfig):
        raise ConfigError(
            f"world={job.world.kind} has no scripted expert to record; use world=tabletop, "
            "or convert demonstrations that you have (`vla convert --help`)."
        )
    demonstrations = record_demonstrations(
        job.world,
        tasks=job.world.tasks,
        episodes_per_task=job.episodes,
        seed=job.seed,
        noise=job.noise,
        workers=job.workers,
    )
    store = TrajectoryStore.create(
        job.output,
        embodiment=job.world.embodiment(),
        provenance={"made_by": "vla record", "job": asdict(job)},
    )
    total = job.episodes * len(job.world.tasks)
    store.append_many(track(demonstrations, description="recording", total=total))
    Console().print(
        f"{store.num_episodes} episodes, {store.num_frames} frames in {job.output}\n"
        f"Next: vla train data.path={job.output}"
    )
