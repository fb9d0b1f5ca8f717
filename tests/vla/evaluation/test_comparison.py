from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vla.evaluation.test_report import NASTY, make_evaluation, read
from vla.errors import ConfigError, DataError
from vla.evaluation.comparison import compare_runs, correct_holm
from vla.evaluation.report import write_report
from vla.evaluation.result import Evaluation


def make_run(solved, weights="a", **changes):
    """`solved`: by task, a verdict per seed."""
    episodes = []
    for task, verdicts in solved.items():
        drawn = make_evaluation(None, 0, n=len(verdicts), task=task).episodes
        episodes += [
            replace(
                episode,
                **{"success": bool(verdict), "first_frame": f"{task} {episode.seed}", **changes},
            )
            for episode, verdict in zip(drawn, verdicts, strict=True)
        ]
    setup = {"max_steps": 30, "world": {"kind": "w"}, "provenance": {"weights_sha256": weights}}
    return Evaluation(episodes=episodes, setup=setup)


GOOD = {"lift": [1] * 40, "push": [1] * 30 + [0] * 10}
POOR = {"lift": [1] * 20 + [0] * 20, "push": [1] * 30 + [0] * 10}


def test_a_clear_winner_is_named_where_it_wins():
    (found,) = compare_runs({"A": make_run(POOR), "B": make_run(GOOD, weights="b")})
    lift, push, together = found.rows
    assert (lift.winner, push.winner, together.winner) == ("second", None, "second")
    assert (lift.first.successes, lift.second.successes, lift.pairs.n) == (20, 40, 40)
    assert lift.pairs.p_value == pytest.approx(2 * 0.5**20)
    assert lift.adjusted_p == pytest.approx(2 * lift.pairs.p_value)  # two tasks, one family
    assert together.adjusted_p == together.pairs.p_value
    assert together.pairs.difference == pytest.approx(-0.25)
    assert together.bootstrap[0] < -0.25 < together.bootstrap[1] < 0
    assert together.anytime_p < 0.001
    assert (lift.more, push.more) == (0, None)
    assert push.bootstrap is None
    assert found.differing == ["provenance"]
    assert found.sentence.startswith("B is better than A by 25.0 points (1")
    (turned,) = compare_runs({"B": make_run(GOOD, weights="b"), "A": make_run(POOR)})
    assert turned.sentence == found.sentence
    assert found.to_json()["pooled"]["winner"] == "second"


def test_no_winner_while_the_interval_holds_zero():
    first = make_run({"lift": [1] * 24 + [0] * 16})
    second = make_run({"lift": [1] * 20 + [0] * 20})
    (found,) = compare_runs({"A": first, "B": second})
    assert found.rows == [found.pooled]
    assert found.pooled.winner is None
    assert found.pooled.pairs.difference == pytest.approx(0.1)
    assert 1 <= found.pooled.more < 200
    assert found.sentence.startswith("No winner between A and B: the difference may be anything")
    assert "0 among them" in found.sentence
    assert f"{found.pooled.more} more episodes would show it" in found.sentence


def test_what_suffices_alone_does_not_among_several():
    first, second = make_run({"lift": [1] * 26}), make_run({"lift": [1] * 20 + [0] * 6})
    assert compare_runs({"A": first, "B": second})[0].pooled.winner == "first"
    found = compare_runs({"A": first, "B": second, "C": first})[0]
    assert found.pooled.winner is None
    assert found.pooled.adjusted_p == pytest.approx(3 * 2 * 0.5**6)
    assert "No winner between A and B: adjusted p = 0.094 is not below 0.05." in found.sentence


def test_too_few_episodes_say_so_and_equal_runs_have_no_winner():
    few = {"A": make_run({"lift": [1] * 5}), "B": make_run({"lift": [0] * 5})}
    (found,) = compare_runs(few)
    assert found.pooled.winner is None
    assert "5 shared episodes could not show any difference" in found.sentence
    (same,) = compare_runs({"A": make_run(GOOD), "B": make_run(GOOD)})
    assert (same.pooled.winner, same.pooled.more, same.differing) == (None, None, [])
    assert "The rates are equal" in same.sentence


def test_only_shared_episodes_count():
    short = make_run({"lift": [1] * 10, "reach": [0] * 5})
    (found,) = compare_runs({"A": make_run(GOOD), "B": short})
    assert [row.task for row in found.rows] == ["all tasks"]
    assert (found.pooled.pairs.n, found.pooled.pairs.unpaired) == (10, 75)
    assert (found.tasks[0].pairs.n, found.tasks[0].pairs.unpaired) == (10, 30)
    assert found.pooled.bootstrap == found.tasks[0].bootstrap
    assert found.sentence.endswith("75 episodes of one run alone left out.")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_run(GOOD, first_frame="another"), "80 of 80 shared episodes differ in their first"),
        (make_run(GOOD, instruction=""), "differ in their instruction, such as task lift"),
        (make_run({"reach": [1]}), "share no episode"),
    ],
)
def test_runs_on_other_scenes_are_refused(other, message):
    with pytest.raises(DataError, match=message):
        compare_runs({"A": make_run(GOOD), "B": other})


@pytest.mark.parametrize(("key", "value"), [("world", {"kind": "v"}), ("max_steps", 9)])
def test_runs_of_other_worlds_are_refused(key, value):
    run = make_run(GOOD)
    other = replace(run, setup={**run.setup, key: value})
    with pytest.raises(DataError, match=f"A and B were not run on the same scenes: {key}"):
        compare_runs({"A": run, "B": other})


def test_which_other_tasks_were_run_does_not_matter():
    runs = {}
    for name, tasks in (("A", ["lift", "push"]), ("B", ["lift"])):
        run = make_run({task: GOOD[task] for task in tasks})
        runs[name] = replace(run, setup={**run.setup, "world": {"tasks": tasks, "hz": 10}})
    (found,) = compare_runs(runs)
    assert (found.pooled.pairs.n, found.differing) == (40, ["world"])


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="1 run to compare"):
        compare_runs({"A": make_run(GOOD)})
    with pytest.raises(ConfigError, match="alpha is 2"):
        compare_runs({"A": make_run(GOOD), "B": make_run(POOR)}, alpha=2)


def test_three_runs_share_one_family():
    runs = {"A": make_run(GOOD), "B": make_run(POOR), "C": make_run(POOR)}
    found = compare_runs(runs)
    assert [(c.first, c.second) for c in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [c.pooled.winner for c in found] == ["first", "first", None]
    assert found[0].pooled.adjusted_p == pytest.approx(3 * found[0].pooled.pairs.p_value)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p_values):
    adjusted = correct_holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1, len(p_values) * p)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_reproduces_a_worked_example():
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.slow
def test_names_of_winners_are_seldom_false():
    # Equals on 40 scenes, 300 times, two tasks: pooled winner in at most alpha of them.
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(300):
        runs = {
            name: make_run({t: rng.random(20) < 0.5 for t in ("lift", "push")}) for name in "AB"
        }
        false += compare_runs(runs)[0].pooled.winner is not None
    assert false / 300 <= 0.05


def test_the_page_shows_the_verdict_and_is_escaped(tmp_path):
    runs = {NASTY: make_run({NASTY: GOOD["lift"], "push": GOOD["push"]}),
            "B": make_run({NASTY: POOR["lift"], "push": POOR["push"]})}  # fmt: skip
    comparisons = compare_runs(runs)
    page = read(write_report(tmp_path / "r.html", title="t", comparisons=comparisons))
    assert "script" not in page.tags
    assert f"{NASTY} against B" in page.text
    assert comparisons[0].sentence in page.text
    assert "20 : 0" in page.text
    assert "all tasks" in page.text
    assert "Setups differ in: nothing." in page.text
