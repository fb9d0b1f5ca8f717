"""`vla questions make`: pictures of a world's scenes, questions and exact answers."""

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.progress import track

from configs.questions_job import QuestionsMakeJob
from envs.config import TabletopConfig
from vla.data.questions import UInt8, write_questions
from vla.errors import ConfigError, choose


def main(job: QuestionsMakeJob) -> None:
    """Write the folder, all of it or nothing."""
    if not isinstance(job.world, TabletopConfig):
        raise ConfigError(
            f"world={job.world.kind} does not say what lies where, so nobody knows the answers; "
            "use world=tabletop, or write questions.jsonl yourself."
        )
    choose("camera", job.camera, job.world.embodiment().cameras)
    written = write_questions(job.output, _draw(job))
    Console().print(
        f"{len(written)} questions about {job.scenes} pictures in {job.output}\n"
        f"Next: vla train data=cotraining data/robot=store data.robot.path=STORE "
        f"data.questions={job.output} policy/backbone=smolvlm policy/head=words",
        markup=False,
        highlight=False,
    )


def _draw(job: QuestionsMakeJob) -> Iterator[tuple[UInt8, list[tuple[str, str, str]]]]:
    from envs.mujoco_world import MujocoWorld
    from envs.questions import ask

    world = job.world.build(job.world.tasks[0])
    assert isinstance(world, MujocoWorld)
    # seeds of 2**32 and above are no evaluation's, see envs.demonstrations
    seeds = np.random.SeedSequence([job.seed, 7]).generate_state(job.scenes, np.uint32)
    try:
        for number, seed in enumerate(track(seeds.tolist(), description="drawing")):
            picture = world.reset(seed=seed + 2**32).images[job.camera][0]
            rng = np.random.default_rng([job.seed, number])
            yield picture, ask(world.assignment.layout, rng, job.questions)
    finally:
        world.close()
