import json

import pytest

from configs.compare_job import CompareJob
from configs.verbs.compare import find_result, main, name_runs
from tests.vla.evaluation.test_comparison import GOOD, POOR, make_run
from vla.errors import ConfigError, DataError, UnknownChoice
from vla.evaluation.journal import Journal


def write_run(folder, solved, condition="given", **changes):
    run = make_run(solved, **changes)
    (folder / condition).mkdir(parents=True)
    journal = Journal(folder / condition / "episodes.jsonl")
    for episode in run.episodes:
        journal.append(episode)
    run.save(folder / condition)
    return str(folder)


def test_two_finished_runs_are_compared(tmp_path, capsys):
    runs = [write_run(tmp_path / "poor", POOR), write_run(tmp_path / "good", GOOD, weights="b")]
    main(CompareJob(runs=runs, output=str(tmp_path / "out")))
    shown = " ".join(capsys.readouterr().out.split())
    assert "good is better than poor" in shown
    assert "Setups differ in: provenance." in shown
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (found,) = stored["comparisons"]
    assert found["pooled"]["pairs"]["only_second"] == 20
    assert [row["winner"] for row in found["tasks"]] == ["second", None]
    assert set(stored["runs"]) == {"poor", "good"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "good is better than poor" in page
    assert "poor.provenance.weights_sha256" in page


def test_runs_on_other_scenes_leave_nothing_behind(tmp_path):
    runs = [write_run(tmp_path / "a", GOOD), write_run(tmp_path / "b", GOOD, first_frame="x")]
    with pytest.raises(DataError, match="first frame"):
        main(CompareJob(runs=runs, output=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_a_condition_is_found_or_the_ones_there_are_named(tmp_path):
    write_run(tmp_path, GOOD, condition="blank")
    assert find_result(tmp_path, "blank") == tmp_path / "blank"
    assert find_result(tmp_path / "blank", "given") == tmp_path / "blank"
    with pytest.raises(DataError, match="condition=given; there is blank"):
        find_result(tmp_path, "given")
    with pytest.raises(DataError, match="none at all"):
        find_result(tmp_path / "nowhere", "given")


def test_clashing_names_are_shown_whole():
    assert name_runs(["x/a", "y/b"]) == {"a": "x/a", "b": "y/b"}
    assert name_runs(["x/eval", "y/eval"]) == {"x/eval": "x/eval", "y/eval": "y/eval"}


def test_options_are_checked():
    with pytest.raises(ConfigError, match="two or more folders"):
        CompareJob(runs=["a"], output="o")
    with pytest.raises(ConfigError, match="each once"):
        CompareJob(runs=["a", "a"], output="o")
    with pytest.raises(ConfigError, match="alpha is 1"):
        CompareJob(runs=["a", "b"], alpha=1.5, output="o")
    with pytest.raises(UnknownChoice, match="given"):
        CompareJob(runs=["a", "b"], condition="givn", output="o")
