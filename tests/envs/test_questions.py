"""Questions about a layout: exact, various, never twice."""

import numpy as np
import pytest

from envs.layout import COLOURS, SHAPES, sample_layout
from envs.questions import KINDS, ask


def scenes(count=60):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        layout = sample_layout(rng)
        yield layout, ask(layout, rng, 8)


def parse(words, things):
    (found,) = [thing for thing in things if thing.name in words]
    return found


def test_answers_are_true():
    checked = set()
    for layout, asked in scenes():
        things = layout.things
        for question, answer, kind in asked:
            words = question.rstrip("?").split()
            if kind == "colour":
                (thing,) = [t for t in things if t.shape == words[-1]]
                assert answer == thing.colour
            elif kind == "shape":
                (thing,) = [t for t in things if t.colour == words[-2]]
                assert answer == thing.shape
            elif kind == "count":
                names = [t.colour for t in things] + [f"{t.shape}s" for t in things]
                assert int(answer) == names.count(words[2])
            elif kind == "exists":
                assert (answer == "yes") == any(t.name in question for t in things)
            elif kind == "position":
                assert (answer == "left") == (parse(question, things).y > 0)
            elif kind == "comparison":
                one, two = (parse(part, things) for part in question.split(" than "))
                gap = one.y - two.y if "left" in words else one.x - two.x
                assert (answer == "yes") == (gap > 0)
            else:
                told = [parse(part, things).y for part in answer.split(", ")]
                assert told == sorted(told, reverse=True)
            checked.add(kind)
    assert checked == set(KINDS)


def test_no_question_comes_twice_and_answers_are_balanced():
    said = []
    for _, asked in scenes():
        assert len({question for question, *_ in asked}) == len(asked) == 8
        said += [answer for _, answer, kind in asked if kind in ("exists", "comparison")]
    assert 0.35 < said.count("yes") / len(said) < 0.65


def test_few_questions_are_left_when_many_are_asked_for():
    layout = sample_layout(np.random.default_rng(0))
    found = ask(layout, np.random.default_rng(0), 200)
    assert len(found) < 200
    assert len({question for question, *_ in found}) == len(found)


def test_words_are_those_of_the_scene():
    for _, asked in scenes(10):
        for _, answer, kind in asked:
            if kind in ("colour", "shape"):
                assert answer in {"colour": COLOURS, "shape": SHAPES}[kind]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_numbers_ask_the_same(seed):
    layout = sample_layout(np.random.default_rng(seed))
    first, second = (ask(layout, np.random.default_rng(seed), 5) for _ in range(2))
    assert first == second
