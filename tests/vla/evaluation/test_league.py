"""Policies in one table."""

import json

import pytest

from vla.evaluation.league import ROW, pool, to_markdown, write_league
from vla.evaluation.statistics import wilson_interval


def result(preset, seed, successes, n=20):
    return {
        "preset": preset,
        "seed": seed,
        "parameters": 1_500_000,
        "steps": 100,
        "train_seconds": 10.0,
        "samples_per_s": 64.0,
        "latency_ms": {"p50": 5.0, "p99": 9.0 + seed},
        "tasks": {"reach": [successes, n]},
        "successes": successes,
        "n": n,
    }


def test_seeds_are_pooled_and_the_best_comes_first():
    lines = pool([result("a", 0, 2), result("b", 0, 18), result("a", 1, 6)])
    assert [line["preset"] for line in lines] == ["b", "a"]
    second = lines[1]
    assert (second["successes"], second["n"], second["rate"]) == (8, 40, 0.2)
    assert (second["low"], second["high"]) == pytest.approx(wilson_interval(8, 40))
    assert second["by_seed"] == {"0": 0.1, "1": 0.3}
    assert second["p99_ms"] == 10.0  # the slower of the two


def test_three_files_say_the_same(tmp_path):
    results = [result("<a>", 0, 20)]
    assert set(results[0]) == set(ROW)
    lines = write_league(tmp_path, results, title="T & t", settings={"seconds": 9})
    kept = json.loads((tmp_path / "league.json").read_text())
    assert kept["lines"] == lines
    assert kept["results"] == results
    assert to_markdown(lines) in (tmp_path / "league.md").read_text()
    page = (tmp_path / "league.html").read_text()
    assert "&lt;a&gt;" in page
    assert "T &amp; t" in page
    assert "1.00 [0.84, 1.00]" in page
