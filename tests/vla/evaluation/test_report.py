import base64
import json
import re
from html.parser import HTMLParser

import pytest

from tests.vla.evaluation.fakes import EMBODIMENT
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.report import write_report
from vla.evaluation.result import Evaluation
from vla.evaluation.videos import film_path
from vla.runtime.record import FlightLog

VOID = {"meta", "br", "link", "img", "path", "rect"}
NASTY = 'a<script>alert("x")</script>&b'


class Checker(HTMLParser):
    """Balanced tags, and everything a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


def read(path):
    checker = Checker()
    checker.feed(path.read_text())
    assert checker.open == []
    return checker


def record_flight(path):
    log = FlightLog(path, embodiment=EMBODIMENT, causes=["NONE"])
    for lateness in (0.0, 0.001, 0.02):
        log.append(lateness=lateness)
    log.close()
    return path


def make_evaluation(directory, successes, n=10, task=NASTY):
    episodes = [
        EpisodeResult(
            task=task,
            seed=1_000_000 + k,
            instruction="lift",
            success=k < successes,
            steps=30,
            reason="" if k < successes else "out of steps",
            first_frame="",
            actions="",
            seconds=1.0,
            inference_ms=5.0,
            plans=4,
        )
        for k in range(n)
    ]
    setup = {"max_steps": 30, "provenance": {"weights": NASTY}, "world": {"quality": "fast"}}
    return Evaluation(episodes=episodes, setup=setup, directory=directory)


def test_a_full_report_is_self_contained_and_escaped(tmp_path):
    given = make_evaluation(tmp_path, 8)
    for index, content in ((0, b"good film"), (9, b"bad film")):
        path = film_path(tmp_path, given.episodes[index])
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    metrics = tmp_path / "metrics.jsonl"
    lines = [{"step": s, "train/loss": 1 / (s + 1), f"train/{NASTY}": None} for s in range(5)]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    cell = {"value": [0.5], "low": [0.4], "high": [0.6]}
    better = {"value": [0.25], "low": [0.2], "high": [0.3]}
    measures = ("l1_row_0", "l1_chunk", "rmse_row_0", "rmse_chunk")
    page = write_report(
        tmp_path / "deep" / "report.html",
        title=NASTY,
        evaluations={"given": given, "blank": make_evaluation(tmp_path, 2)},
        chance=0.1,
        metrics=metrics,
        open_loop={
            NASTY: {
                "axes": [{"name": NASTY, "unit": "m"}],
                "horizon": 8,
                "episodes": 3,
                "windows": 9,
                "interval": "bootstrap",
                "errors": {
                    "policy": dict.fromkeys(measures, better),
                    "mean_action": dict.fromkeys(measures, cell),
                },
            }
        },
        live={
            "missed_slots": 0,
            "lateness_ms": {"p99": 0.5, "histogram": {"edges": [0, 1, 2], "counts": [5, 1]}},
            "inference_ms": [5.0, 6.0, 7.5],
        },
        flight=record_flight(tmp_path / "flight.log"),
        timings={"train": 3700.0},
        provenance={"note": NASTY},
    )
    checker = read(page)
    assert "script" not in checker.tags
    assert NASTY in checker.text
    assert all(source.startswith("data:") for source in checker.sources)
    films = [base64.b64decode(source.partition(",")[2]) for source in checker.sources]
    assert films == [b"good film", b"bad film"]
    assert "url(" not in page.read_text()
    assert "80 % · 8 of 10" in checker.text
    assert "given – blank10+60" in checker.text
    assert "0.75" in checker.text  # language use (0.8 - 0.2) / 0.8
    assert "2 of 2 failures reached it" in checker.text
    assert "seeds, 1000000 to 1000009" in checker.text
    assert "1 h 01 min" in checker.text
    assert len(re.findall(r'class="number best">0\.250', page.read_text())) == 4
    assert "lateness of ticks" in checker.text
    for heading in ("Training", "Live control loop", "Episodes", "Open-loop", "Small print"):
        assert heading in checker.text


def test_perturbed_scenes_make_a_heat_map_of_their_own(tmp_path):
    results = {"given": make_evaluation(tmp_path, 9), "blank": make_evaluation(tmp_path, 1)}
    results |= {"light:1": make_evaluation(tmp_path, 9), "light:5": make_evaluation(tmp_path, 0)}
    results |= {"object_swap:3": make_evaluation(tmp_path, 8)}
    page = write_report(tmp_path / "r.html", title="t", evaluations=results)
    text = read(page).text
    assert "given – blank" in text
    assert "given – light:5" not in text
    assert "Does it hold?" in text
    assert "light90 %[60–98] +0, p = 1, n 10" in text
    assert "0 %[0–28] -90, p = 0.0039, n 10" in text
    assert "object swap80 %" in text
    bold = re.findall("<td[^>]*><b>([^<]*)</b>", page.read_text())
    assert bold == ["0 %"]  # 0.0039 lies below 0.05 / 3 comparisons
    alone = write_report(
        tmp_path / "r.html", title="t", evaluations={"light:1": results["light:1"]}
    )
    assert "Does it hold?" not in read(alone).text


def test_absent_parts_are_left_out(tmp_path):
    checker = read(write_report(tmp_path / "r.html", title="Empty"))
    assert "section" not in checker.tags
    page = write_report(
        tmp_path / "r.html",
        title="One",
        evaluations={"policy": make_evaluation(None, 5)},
        metrics=tmp_path / "missing.jsonl",
    )
    checker = read(page)
    for heading in ("Training", "Live", "listen", "Episodes", "Open-loop", "Time per"):
        assert heading not in checker.text
    assert "50 % · 5 of 10" in checker.text


def test_films_stay_within_a_budget(tmp_path, monkeypatch):
    result = make_evaluation(tmp_path, 2)
    for episode in result.episodes[:2]:
        film_path(tmp_path, episode).parent.mkdir(exist_ok=True)
        film_path(tmp_path, episode).write_bytes(b"0" * 100)
    monkeypatch.setattr("vla.evaluation.films.FILM_BYTES", 150)
    checker = read(write_report(tmp_path / "r.html", title="t", evaluations={"given": result}))
    assert checker.tags.count("video") == 1
    assert "1 more are left out" in checker.text


def test_a_condition_without_its_reference_is_no_comparison(tmp_path):
    results = {"blank": make_evaluation(None, 1), "other": make_evaluation(None, 3)}
    text = read(write_report(tmp_path / "r.html", title="t", evaluations=results)).text
    assert "blank – other" in text


@pytest.mark.parametrize("successes", [0, 10])
def test_extreme_rates_are_drawn(tmp_path, successes):
    results = {
        "given": make_evaluation(None, successes),
        "blank": make_evaluation(None, successes),
    }
    text = read(write_report(tmp_path / "r.html", title="t", evaluations=results)).text
    assert f"{successes} of 10" in text
    assert "given – blank" in text
