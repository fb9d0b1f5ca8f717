"""Things with names in small pictures: what is asked about them, and how they are reached.

Eight kinds of things, each of one colour and shape, lie three at a time in a picture of 40 x 40
pixels, each in a quarter of its own. Six nouns are demonstrated; all eight are asked about.
"""

from dataclasses import dataclass, replace

import numpy as np

SIZE, CELLS = 40, 2
CELL = SIZE // CELLS
COLOURS = {
    "red": (220, 50, 40), "green": (40, 190, 60), "blue": (50, 80, 230), "yellow": (230, 210, 40)
}  # fmt: skip
# noun: colour and shape; each colour and each shape is shared
LOOKS = {
    "bottle": ("red", "square"), "mug": ("green", "square"), "cheese": ("blue", "square"),
    "bread": ("yellow", "square"), "milk": ("red", "ring"), "soup": ("green", "ring"),
    "fork": ("blue", "ring"), "spoon": ("yellow", "ring"),
}  # fmt: skip
NOUNS = tuple(LOOKS)
ONLY_ASKED = ("cheese", "soup")
SHOWN = tuple(noun for noun in NOUNS if noun not in ONLY_ASKED)


@dataclass(frozen=True)
class Scene:
    """Nouns and their centres in pixels (x right, y down), and the picture."""

    nouns: tuple[str, ...]
    spots: np.ndarray
    picture: np.ndarray


def draw_scene(rng: np.random.Generator) -> Scene:
    """Three different things in different cells, jittered, on noise."""
    nouns = tuple(str(n) for n in rng.choice(NOUNS, 3, replace=False))
    cells = rng.permutation(CELLS**2)[:3]
    spots = np.stack([cells % CELLS, cells // CELLS], axis=1) * CELL + CELL // 2
    spots = spots + rng.integers(-2, 3, spots.shape)
    picture = rng.integers(90, 120, (SIZE, SIZE, 3)).astype(np.uint8)
    for noun, (x, y) in zip(nouns, spots, strict=True):
        colour, shape = LOOKS[noun]
        patch = picture[y - 7 : y + 7, x - 7 : x + 7]
        hole = patch[4:-4, 4:-4].copy()
        patch[:] = COLOURS[colour]
        if shape == "ring":
            patch[4:-4, 4:-4] = hole
    return Scene(nouns, spots, picture)


def to_metres(spots: np.ndarray) -> np.ndarray:
    """Pixels to actions in [-1, 1]."""
    return (spots / (SIZE / 2) - 1).astype(np.float32)


def name_place(spot: np.ndarray) -> str:
    """The quarter of the picture, in words."""
    x, y = spot
    return f"{'top' if y < SIZE / 2 else 'bottom'} {'left' if x < SIZE / 2 else 'right'}"


def ask(scene: Scene, rng: np.random.Generator) -> tuple[str, str, str]:
    """A question, its answer and its kind."""
    index = int(rng.integers(3))
    noun, kind = scene.nouns[index], str(rng.choice(["place", "place", "exists", "count"]))
    if kind == "place":
        return f"where is the {noun}?", name_place(scene.spots[index]), kind
    if kind == "exists":
        other = str(rng.choice([n for n in NOUNS if n not in scene.nouns]))
        there = bool(rng.integers(2))
        return f"is there a {noun if there else other}?", "yes" if there else "no", kind
    colour = str(rng.choice(list(COLOURS)))
    number = sum(LOOKS[n][0] == colour for n in scene.nouns)
    return f"how many {colour} objects?", str(number), kind


@dataclass(frozen=True)
class Samples:
    """Pictures (n, H, W, 3), words, and actions (n, 2) or answers."""

    pictures: np.ndarray
    words: list[str]
    actions: np.ndarray | None = None
    answers: list[str] | None = None
    kinds: list[str] | None = None


def make_questions(count: int, seed: int) -> Samples:
    rng = np.random.default_rng([seed, 1])
    scenes = [draw_scene(rng) for _ in range(count)]
    asked = [ask(scene, rng) for scene in scenes]
    words, answers, kinds = (list(column) for column in zip(*asked, strict=True))
    return Samples(np.stack([s.picture for s in scenes]), words, None, answers, kinds)


def shuffle_answers(samples: Samples, seed: int) -> Samples:
    """The same answers, given to other questions of the same kind."""
    rng = np.random.default_rng([seed, 2])
    answers, kinds = np.array(samples.answers), np.array(samples.kinds)
    for kind in np.unique(kinds):
        here = np.flatnonzero(kinds == kind)
        answers[here] = answers[rng.permutation(here)]
    return replace(samples, answers=answers.tolist())


def make_demonstrations(count: int, seed: int, nouns: tuple[str, ...]) -> tuple[Samples, list]:
    """Scenes with at least one of `nouns`, which is asked for; also the scenes and targets."""
    rng = np.random.default_rng([seed, 3])
    pictures, words, actions, truth = [], [], [], []
    while len(words) < count:
        scene = draw_scene(rng)
        fitting = [i for i, noun in enumerate(scene.nouns) if noun in nouns]
        if not fitting:
            continue
        index = int(rng.choice(fitting))
        pictures.append(scene.picture)
        words.append(f"reach the {scene.nouns[index]}")
        actions.append(to_metres(scene.spots[index]))
        truth.append((scene, index))
    return Samples(np.stack(pictures), words, np.stack(actions)), truth
