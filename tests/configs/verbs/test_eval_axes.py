"""How `vla eval` sums up."""

import io

from rich.console import Console

from configs.verbs.eval import summarise, tabulate_axes
from tests.vla.evaluation.test_report import make_evaluation


def test_axes_are_measured_against_the_given_condition_and_tabulated(tmp_path):
    results = {"light:5": make_evaluation(tmp_path, 4), "given": make_evaluation(tmp_path, 9)}
    summary = summarise(results, {})
    assert summary["pooled"]["successes"] == 9
    assert summary["conditions"]["light:5"]["difference"] == 0.5
    results["object_swap:2"] = make_evaluation(tmp_path, 7)
    del results["given"]
    text = io.StringIO()
    Console(file=text, width=80).print(tabulate_axes(results))
    rows = {
        line.split()[1]: line
        for line in text.getvalue().splitlines()
        if "_" in line or "light" in line
    }
    assert rows["light"].split("│")[6].strip() == "0.40"
    assert rows["object_swap"].split("│")[3].strip() == "0.70"
