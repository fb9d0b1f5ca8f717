"""Splits share no assignment, and each has some of every task."""

from itertools import product

import numpy as np
import pytest

from envs.config import SUITE, TabletopConfig
from envs.layout import COLOURS, SHAPES, UNSEEN_COLOURS, UNSEEN_SHAPES
from envs.splits import HELD_OUT_TASKS, admits, sort_pair, sort_pairs
from envs.tasks import load_task
from vla.errors import ConfigError, UnknownChoice

SEEDS = range(12)
TRAINED = [task for task in SUITE if task not in HELD_OUT_TASKS]


def draw(task, split, seed):
    return load_task(task, split).sample(np.random.default_rng(seed))


def test_every_pair_has_one_split_and_a_quarter_is_held_out():
    pairs = list(product(COLOURS, SHAPES))
    held = [pair for pair in pairs if sort_pair(pair) == "compositional"]
    assert len(held) == 3
    # Every word of a combination that is held out is trained on in others.
    for place in (0, 1):
        known = {pair[place] for pair in pairs if pair not in held}
        assert known == set((COLOURS, SHAPES)[place])
    for pair in product((*COLOURS, *UNSEEN_COLOURS), (*SHAPES, *UNSEEN_SHAPES)):
        kinds = [s for s in ("train", "compositional", "unseen") if admits(s, [pair])]
        assert kinds == [sort_pair(pair)]


@pytest.mark.parametrize("task", TRAINED)
def test_splits_of_a_task_are_disjoint(task):
    seen = {}
    for split in ("train", "compositional", "unseen"):
        drawn = [draw(task, split, seed) for seed in SEEDS]
        assert all(sort_pairs(assignment.pairs) == split for assignment in drawn)
        seen[split] = {frozenset(assignment.pairs) for assignment in drawn}
        assert len(seen[split]) > 1
    assert not seen["train"] & seen["compositional"]
    assert not (seen["train"] | seen["compositional"]) & seen["unseen"]


@pytest.mark.parametrize("task", TRAINED)
def test_training_scenes_show_nothing_that_is_held_out(task):
    for seed in SEEDS:
        for thing in draw(task, "train", seed).layout.things:
            if thing.shape != "peg" and task != "comparison":  # it compares colours at random
                assert sort_pair((thing.colour, thing.shape)) == "train"


def test_unseen_tasks_use_trained_words():
    for task, seed in product(HELD_OUT_TASKS, SEEDS):
        assert sort_pairs(draw(task, "unseen_task", seed).pairs) == "train"


def test_all_is_both_known_splits():
    kinds = {sort_pairs(draw("bowl", "all", seed).pairs) for seed in range(40)}
    assert kinds == {"train", "compositional"}


def test_config_refuses_tasks_outside_the_split():
    with pytest.raises(ConfigError, match=r"has no order; give tasks=\[pick\]"):
        TabletopConfig(tasks=["pick", "order"], split="train")
    with pytest.raises(ConfigError, match="has no pick"):
        TabletopConfig(tasks=["pick"], split="unseen_task")
    with pytest.raises(ConfigError, match="has no lift"):
        TabletopConfig(tasks=["lift"], split="unseen")
    with pytest.raises(UnknownChoice, match="trian"):
        TabletopConfig(tasks=["pick"], split="trian")
    with pytest.raises(ConfigError, match="no splits"):
        load_task("lift", "train")


def test_known_is_every_template_on_trained_pairs():
    assert TabletopConfig(tasks=list(SUITE), split="known").split == "known"
    for task, seed in product((*HELD_OUT_TASKS, "bowl"), SEEDS):
        assignment = draw(task, "known", seed)
        assert sort_pairs(assignment.pairs) == "train"
        twin = "unseen_task" if task in HELD_OUT_TASKS else "train"
        assert assignment == draw(task, twin, seed)
    with pytest.raises(ConfigError, match="known has no reach"):
        TabletopConfig(tasks=["reach"], split="known")
