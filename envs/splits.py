"""Which combinations of words are trained on, and which are kept for a test.

An assignment uses pairs of words: an object's (colour, shape), what goes where as (colour, colour
of the bowl), a button as (colour, "twice"), and so on. Every pair is "train", "compositional" or
"unseen" by the rule of `sort_pair`; an assignment is the rarest of its pairs. So the splits share
no assignment, whatever the seeds, and need no list to be kept.
"""

from collections.abc import Iterable

from envs.layout import COLOURS, SHAPES, UNSEEN_COLOURS, UNSEEN_SHAPES

SPLITS = ("all", "known", "train", "compositional", "unseen", "unseen_task")
HELD_OUT_TASKS = ("order", "stow", "swap")
"""Tasks that `split=train` leaves out: `unseen_task` is these alone, with pairs of "train"."""
TRAINED_PAIRS = ("known", "train", "unseen_task")
"""Splits whose assignments use pairs of "train" only: of all tasks, of thirteen, of three."""

RELATIONS = ("left", "right", "front", "behind")
EXTREMES = ("largest", "smallest", "nearest", "middle")
REGIONS = ("left", "right", "far")
TIMES = ("once", "twice")
TURNS = ("left", "right")
MOVES = ("open", "close")
HOLES = ("round", "square")

Pair = tuple[str, str]

_ORDER: dict[str, int] = {}
for _words in (COLOURS, SHAPES, RELATIONS, EXTREMES, REGIONS, TIMES, TURNS, MOVES, HOLES):
    _ORDER.update({word: index for index, word in enumerate(_words)})
_NEW = frozenset((*UNSEEN_COLOURS, *UNSEEN_SHAPES))


def sort_pair(pair: Pair) -> str:
    """The split of one pair; a quarter of a full table of known words is "compositional"."""
    if _NEW & set(pair):
        return "unseen"
    first, second = (_ORDER[word] for word in pair)
    return "compositional" if (first + second) % 4 == 3 else "train"


def sort_pairs(pairs: Iterable[Pair]) -> str:
    """The split of an assignment that uses `pairs`; "train" when it uses none."""
    kinds = {sort_pair(pair) for pair in pairs}
    return next((kind for kind in ("unseen", "compositional") if kind in kinds), "train")


def admits(split: str, pairs: Iterable[Pair]) -> bool:
    """Whether an assignment that uses `pairs` may turn up in `split`."""
    kind = sort_pairs(pairs)
    if split == "all":
        return kind != "unseen"
    return kind == ("train" if split in TRAINED_PAIRS else split)


def colours(split: str) -> tuple[str, ...]:
    """Colours to draw from."""
    return (*COLOURS, *UNSEEN_COLOURS) if split == "unseen" else COLOURS


def shapes(split: str) -> tuple[str, ...]:
    """Shapes to draw from."""
    return (*SHAPES, *UNSEEN_SHAPES) if split == "unseen" else SHAPES
