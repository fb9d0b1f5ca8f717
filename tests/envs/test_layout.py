"""Scenes are drawn fairly and without overlap."""

from collections import Counter

import numpy as np

from envs.config import CLASSIC
from envs.layout import COLOURS, PAD_HALF, SHAPES, sample_layout
from envs.tasks import load_task

CLASSIC_TASKS = [load_task(name) for name in CLASSIC]
LAYOUTS = [sample_layout(np.random.default_rng(seed)) for seed in range(300)]


def test_objects_are_apart_and_told_apart_by_two_words():
    for layout in LAYOUTS:
        names = [thing.name for thing in layout.things]
        assert len(set(names)) == 3
        xs = sorted(thing.x for thing in layout.things)
        assert min(np.diff(xs)) >= 0.085
        for pad in layout.pads:
            for thing in layout.things:
                assert np.hypot(pad.x - thing.x, pad.y - thing.y) > PAD_HALF + 0.03
        assert layout.pads[0].colour != layout.pads[1].colour


def test_words_are_needed():
    """Colour alone and shape alone often leave two candidates; both together never do."""
    ambiguous = Counter()
    for layout in LAYOUTS:
        ambiguous["colour"] += len({t.colour for t in layout.things}) < 3
        ambiguous["shape"] += len({t.shape for t in layout.things}) < 3
    assert min(ambiguous.values()) > 0.4 * len(LAYOUTS)


def test_every_combination_turns_up_in_every_place():
    seen = Counter((t.colour, t.shape) for layout in LAYOUTS for t in layout.things)
    assert len(seen) == len(COLOURS) * len(SHAPES)
    assert max(seen.values()) < 2 * min(seen.values())


def test_tasks_share_their_scenes_and_differ_in_words():
    sentences = Counter()
    for seed in range(20):
        drawn = [task.sample(np.random.default_rng(seed)) for task in CLASSIC_TASKS]
        assert len({str(assignment.layout) for assignment in drawn}) == 1
        sentences.update({assignment.instruction for assignment in drawn})
    assert len(sentences) > 48


def test_paraphrases_keep_scene_and_nouns():
    for task in CLASSIC_TASKS:
        texts = set()
        for seed in range(12):
            plain = task.sample(np.random.default_rng(seed))
            varied = task.sample(np.random.default_rng(seed), paraphrase=True)
            assert (plain.layout, plain.target) == (varied.layout, varied.target)
            assert plain.thing.name in varied.instruction
            texts.add(varied.instruction != plain.instruction)
        assert texts == {True, False}


def test_swapped_instruction_names_another_object_of_the_scene():
    for task in CLASSIC_TASKS:
        for seed in range(20):
            assignment = task.sample(np.random.default_rng(seed))
            swapped = task.swapped_instruction(assignment)
            assert assignment.thing.name not in swapped
            assert any(thing.name in swapped for thing in assignment.layout.things)
            assert swapped.split()[0] == assignment.instruction.split()[0]
