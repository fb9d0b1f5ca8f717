import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla.errors import ConfigError, DataError
from vla.evaluation.noninferiority import judge_noninferiority


def outcomes(both, first, second, neither):
    pairs = [(True, True)] * both + [(True, False)] * first
    pairs += [(False, True)] * second + [(False, False)] * neither
    return ({i: a for i, (a, _) in enumerate(pairs)}, {i: b for i, (_, b) in enumerate(pairs)})


@pytest.mark.parametrize(
    ("counts", "passed"),
    [
        ((170, 4, 4, 22), True),  # a few fell either way
        ((160, 2, 16, 22), False),  # seven points lost
        ((17, 0, 0, 3), False),  # equal, but 20 scenes rule out nothing
        ((150, 30, 0, 20), True),  # better
        ((0, 0, 0, 200), True),  # both always fail: no worse, which the sentence shows
    ],
)
def test_the_burden_is_on_the_candidate(counts, passed):
    verdict = judge_noninferiority(*outcomes(*counts), margin=0.05)
    assert verdict.passed is passed
    assert verdict.to_json()["passed"] is passed
    assert ("not shown" in verdict.sentence) is not passed


@given(
    counts=st.tuples(*[st.integers(0, 60)] * 4).filter(lambda c: sum(c) > 0),
    margin=st.floats(0.01, 0.5),
)
@settings(max_examples=60)
def test_a_wider_margin_never_fails_what_a_narrower_one_passed(counts, margin):
    candidate, reference = outcomes(*counts)
    narrow = judge_noninferiority(candidate, reference, margin=margin)
    wide = judge_noninferiority(candidate, reference, margin=margin + 0.1)
    assert wide.passed or not narrow.passed
    if narrow.passed:
        assert narrow.pairs.difference > -margin


def test_false_passes_are_as_rare_as_stated():
    """Candidates that are exactly the margin worse pass about 1 time in 40."""
    import numpy as np

    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(2000):
        both, first, second, neither = rng.multinomial(200, [0.80, 0.03, 0.08, 0.09])
        passed += judge_noninferiority(*outcomes(both, first, second, neither)).passed
    assert passed / 2000 < 0.04


def test_what_is_no_pair_is_refused():
    with pytest.raises(DataError, match="one of the two only"):
        judge_noninferiority({1: True, 2: True}, {1: True})
    with pytest.raises(ConfigError, match="margin is 5"):
        judge_noninferiority({1: True}, {1: True}, margin=5)
