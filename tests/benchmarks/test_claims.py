"""The page of systems says what the stored results say, and the results add up."""

import json
import re

import pytest

from benchmarks.claims import page as book
from vla.evaluation.statistics import wilson_interval

NAMES = sorted(path.stem for path in book.RESULTS.glob("*.json"))


def test_the_page_is_up_to_date():
    page = book.PAGE.read_text(encoding="utf-8")
    assert book.fill(page) == page, "run python benchmarks/claims/page.py"


def test_every_result_is_on_the_page():
    shown = re.findall(r"<!-- claim (\w+) -->", book.PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted({*NAMES, *shown})
    assert set(NAMES) <= set(shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_holds_what_it_rests_on(name):
    kept = json.loads((book.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert len(kept["seeds"]) >= 3
    assert {outcome["seed"] for outcome in kept["outcomes"]} == set(kept["seeds"])
    for outcome in kept["outcomes"]:
        if "verdicts" in outcome:
            assert outcome["verdicts"].count("1") == outcome["successes"]
            assert len(outcome["verdicts"]) == outcome["n"]
    for _, figure in book.flatten(kept["figures"]):
        if "difference" in figure:
            assert figure["low"] <= figure["difference"] <= figure["high"]
        elif "low" in figure:
            bounds = wilson_interval(figure["successes"], figure["n"])
            assert (figure["low"], figure["high"]) == pytest.approx(bounds, abs=1e-4)
