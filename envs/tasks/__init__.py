"""The table of tasks: one file each, one line each here."""

from envs.task import Task
from envs.tasks.lift import Lift
from envs.tasks.place import Place
from envs.tasks.push import Push
from envs.tasks.reach import Reach

TASKS: dict[str, Task] = {task.name: task for task in (Reach(), Push(), Lift(), Place())}
