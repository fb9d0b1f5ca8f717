"""The table of tasks: the four classic ones and the sixteen templates of the suite."""

from envs.suite import SuiteTask
from envs.task import Task
from envs.tasks.bowl import Bowl, Collect, Comparison, Order
from envs.tasks.button import Button
from envs.tasks.drawer import Drawer, Stow
from envs.tasks.exclude import Exclude
from envs.tasks.knob import Knob
from envs.tasks.lift import Lift
from envs.tasks.peg import Peg
from envs.tasks.pick import Pick
from envs.tasks.place import Place
from envs.tasks.plate import Plate, Stack
from envs.tasks.push import Push
from envs.tasks.reach import Reach
from envs.tasks.region import Region
from envs.tasks.relation import Relation
from envs.tasks.swap import Swap
from vla.errors import ConfigError, choose

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Reach(), Push(), Lift(), Place(),
        Pick(), Bowl(), Plate(), Stack(), Region(), Relation(), Comparison(), Collect(), Order(),
        Drawer(), Stow(), Button(), Knob(), Peg(), Swap(), Exclude(),
    )
}  # fmt: skip


def load_task(name: str, split: str = "all") -> Task:
    """The task of that name with assignments of `split`.

    Raises UnknownChoice listing the names there are, or ConfigError when it has no splits.
    """
    task = choose("task", name, TASKS)
    if split == "all":
        return task
    if not isinstance(task, SuiteTask):
        raise ConfigError(f"Task {name!r} has no splits; give world.split=all.")
    return task.within(split)
