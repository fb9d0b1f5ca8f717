"""The fifty tasks of Meta-World v3: difficulty, words of our own, the public words.

Difficulty groups after Seo et al. 2022, "Masked World Models for Visual Control" (appendix), which
SmolVLA, Evo-1 and others report; their "average" is the mean of the four groups, not of the tasks.
"""

import importlib.util
import json
from pathlib import Path

from vla.errors import ConfigError

TASKS: dict[str, tuple[str, str]] = {
    "assembly-v3": ("hard", "put the ring over the peg"),
    "basketball-v3": ("medium", "drop the basketball through the hoop"),
    "bin-picking-v3": ("medium", "move the block from one bin into the other"),
    "box-close-v3": ("medium", "put the lid on the box"),
    "button-press-topdown-v3": ("easy", "press the button down from above"),
    "button-press-topdown-wall-v3": ("easy", "go over the wall and press the button from above"),
    "button-press-v3": ("easy", "push the button in from the front"),
    "button-press-wall-v3": ("easy", "go over the wall and push the button in"),
    "coffee-button-v3": ("easy", "push the button of the coffee machine"),
    "coffee-pull-v3": ("medium", "pull the mug away from the coffee machine"),
    "coffee-push-v3": ("medium", "push the mug under the coffee machine"),
    "dial-turn-v3": ("easy", "turn the dial by half a turn"),
    "disassemble-v3": ("very_hard", "lift the ring off the peg"),
    "door-close-v3": ("easy", "close the door"),
    "door-lock-v3": ("easy", "lock the door"),
    "door-open-v3": ("easy", "open the door"),
    "door-unlock-v3": ("easy", "unlock the door"),
    "drawer-close-v3": ("easy", "close the drawer"),
    "drawer-open-v3": ("easy", "open the drawer"),
    "faucet-close-v3": ("easy", "turn the faucet off"),
    "faucet-open-v3": ("easy", "turn the faucet on"),
    "hammer-v3": ("medium", "drive the nail in with the hammer"),
    "hand-insert-v3": ("hard", "put the gripper with the block into the hole"),
    "handle-press-side-v3": ("easy", "press the sideways handle down"),
    "handle-press-v3": ("easy", "press the handle down"),
    "handle-pull-side-v3": ("easy", "pull the sideways handle up"),
    "handle-pull-v3": ("easy", "pull the handle up"),
    "lever-pull-v3": ("easy", "turn the lever up by a quarter turn"),
    "peg-insert-side-v3": ("medium", "insert the peg into the hole in the side"),
    "peg-unplug-side-v3": ("easy", "pull the peg out of the side"),
    "pick-out-of-hole-v3": ("hard", "take the puck out of the hole"),
    "pick-place-v3": ("hard", "lift the puck to the mark"),
    "pick-place-wall-v3": ("very_hard", "lift the puck over the wall to the mark"),
    "plate-slide-back-side-v3": ("easy", "slide the plate out of the cabinet sideways"),
    "plate-slide-back-v3": ("easy", "slide the plate back out of the cabinet"),
    "plate-slide-side-v3": ("easy", "slide the plate sideways into the cabinet"),
    "plate-slide-v3": ("easy", "slide the plate forward into the cabinet"),
    "push-back-v3": ("hard", "pull the puck back to the mark"),
    "push-v3": ("hard", "push the puck forward to the mark"),
    "push-wall-v3": ("medium", "push the puck around the wall to the mark"),
    "reach-v3": ("easy", "move the gripper to the mark"),
    "reach-wall-v3": ("easy", "move the gripper over the wall to the mark"),
    "shelf-place-v3": ("very_hard", "put the puck on the shelf"),
    "soccer-v3": ("medium", "push the football into the goal"),
    "stick-pull-v3": ("very_hard", "pull the thermos with the stick"),
    "stick-push-v3": ("very_hard", "push the thermos with the stick"),
    "sweep-into-v3": ("medium", "sweep the puck into the hole"),
    "sweep-v3": ("medium", "sweep the puck off the table"),
    "window-close-v3": ("easy", "slide the window shut"),
    "window-open-v3": ("easy", "slide the window open"),
}
"""Difficulty and a distinct sentence of each task."""

DIFFICULTIES = ("easy", "medium", "hard", "very_hard")
MT10 = (
    "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
    "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
)  # fmt: skip
SUITES: dict[str, tuple[str, ...]] = {
    "mt10": MT10,
    "mt50": tuple(TASKS),
    **{
        level: tuple(task for task, (group, _) in TASKS.items() if group == level)
        for level in DIFFICULTIES
    },
}
"""Names that stand for several tasks."""


def find_instruction(task: str, words: str) -> str:
    """The sentence of `task`.

    Args:
        task: among TASKS.
        words: "distinct" for our own, all different; "lerobot" for those that LeRobot's data set
            and environment use, of which push-v3 and push-back-v3 share one.

    Raises:
        ConfigError: when LeRobot is not installed or has no sentence for the task.
    """
    if words == "distinct":
        return TASKS[task][1]
    found = importlib.util.find_spec("lerobot")
    # Read beside the code: importing lerobot.envs costs seconds.
    folder = Path(found.origin or "").parent if found is not None else Path()
    path = folder / "envs" / "metaworld_config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["TASK_DESCRIPTIONS"][task]
    except (OSError, KeyError) as error:
        raise ConfigError(
            f"LeRobot's sentence for {task!r} is not in {path} ({error}); install lerobot 0.6.1 "
            "or give world.words=distinct."
        ) from error
