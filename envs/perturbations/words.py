"""The axis of words: the same scene asked for differently, down to not at all."""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from envs.perturbations.perturbation import Perturbation
from envs.task import Assignment

_POLITE = ("please {}", "could you {}", "now {}", "robot, {}", "i would like you to {}")
_VERBS = {
    r"^(reach|move to|go to)\b": ("bring your fingers to", "get over to", "hover above"),
    r"^(push|slide|shove)\b": ("move", "nudge", "shift"),
    r"^(lift|pick up|raise)\b": ("take up", "grab", "hoist"),
    r"^(put|place|set)\b": ("drop", "lay", "position"),
}
_NOUNS = {
    r"\bcube\b": ("block", "box"),
    r"\bball\b": ("sphere", "orb"),
    r"\bcan\b": ("tin", "cylinder"),
    r"\bpad\b": ("mat", "square"),
}
_COLOURS = {
    r"\bred\b": ("crimson", "scarlet"),
    r"\bgreen\b": ("emerald", "leaf green"),
    r"\bblue\b": ("navy", "cobalt"),
    r"\byellow\b": ("golden", "lemon"),
}
_ASIDES = (
    "the weather is lovely today, so {}",
    "my sister calls at noon; before that, {}",
    "after a long day in the workshop, {}",
    "{}, and by the way, i had soup for lunch",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstructionChange(Perturbation):
    """Other words for the same thing; a level's sentence contains what lower levels did."""

    axis: ClassVar[str] = "instruction"
    changes: ClassVar[str] = (
        "1: a polite phrase is added; 2: the verb is paraphrased; 3: synonyms of shapes and "
        "colours; 4: an irrelevant clause and typing errors; 5: no words at all."
    )

    def reassign(self, assignment: Assignment, seed: int) -> Assignment:
        """See Perturbation."""
        if not self.level:
            return assignment
        rng = self.rng(seed)
        text = assignment.instruction
        polite, aside = str(rng.choice(_POLITE)), str(rng.choice(_ASIDES))
        verbed = _substitute(text, _VERBS, rng)
        named = _substitute(verbed, _NOUNS | _COLOURS, rng)
        said = {
            1: polite.format(text),
            2: polite.format(verbed),
            3: polite.format(named),
            4: _mistype(aside.format(polite.format(named)), rng),
            5: "",
        }[self.level]
        return replace(assignment, instruction=said)


def _substitute(text: str, table: dict[str, tuple[str, ...]], rng: np.random.Generator) -> str:
    """Every match of a pattern by one of its alternatives."""
    for pattern, others in table.items():
        text = re.sub(pattern, str(rng.choice(others)), text)
    return text


def _mistype(text: str, rng: np.random.Generator) -> str:
    """Two neighbouring letters exchanged inside every second long word."""
    words = text.split(" ")
    long = [index for index, word in enumerate(words) if len(word.strip(",;")) > 3]
    for index in long[int(rng.integers(2)) :: 2]:
        word = words[index]
        at = int(rng.integers(1, len(word.strip(",;")) - 1))
        words[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
