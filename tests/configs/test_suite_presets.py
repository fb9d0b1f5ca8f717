"""The suite's presets compose and agree with the table of tasks."""

import pytest

from configs.launch import build_job, compose, register_schemas
from envs.config import SUITE
from envs.splits import HELD_OUT_TASKS

register_schemas()


@pytest.mark.parametrize(
    ("preset", "tasks", "split"),
    [
        ("tabletop16", SUITE, "all"),
        ("tabletop16_known", SUITE, "known"),
        ("tabletop16_train", [t for t in SUITE if t not in HELD_OUT_TASKS], "train"),
        ("tabletop16_unseen_task", HELD_OUT_TASKS, "unseen_task"),
    ],
)
def test_presets_name_the_tasks(preset, tasks, split):
    job = build_job(compose("record", [f"world={preset}", "output=unused"]))
    assert job.world.tasks == list(tasks)
    assert job.world.split == split


def test_a_preset_takes_overrides():
    overrides = ["world=tabletop16_train", "world.split=compositional", "world.image_size=128"]
    world = build_job(compose("record", [*overrides, "output=unused"])).world
    assert (world.split, world.image_size, len(world.tasks)) == ("compositional", 128, 13)
