"""The table of tasks: one file each, one line each here."""

from envs.task import Task
from envs.tasks.lift import Lift
from envs.tasks.place import Place
from envs.tasks.push import Push
from envs.tasks.reach import Reach
from vla.errors import choose

TASKS: dict[str, Task] = {task.name: task for task in (Reach(), Push(), Lift(), Place())}


def load_task(name: str) -> Task:
    """The task of that name. Raises UnknownChoice listing the names there are."""
    return choose("task", name, TASKS)
