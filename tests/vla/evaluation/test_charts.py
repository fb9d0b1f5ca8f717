import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.evaluation.charts import (
    draw_heat_map,
    draw_histogram,
    draw_intervals,
    draw_lines,
    format_number,
)


def parse(html):
    return ElementTree.fromstring(f"<body>{html.replace('&nbsp;', ' ')}</body>")


def test_intervals_lie_where_the_numbers_say():
    html = draw_intervals([("lift <b>", 0.5, 0.25, 0.75, "25 & 50", 0)], chance=0.1)
    root = parse(html)
    assert root.find(".//i[@class='whisker']").get("style") == "left:25.00%;width:50.00%"
    assert root.find(".//i[@class='dot']").get("style") == "left:50.00%"
    assert root.find(".//i[@class='chance']").get("style") == "left:10.00%"
    assert "lift <b>" in "".join(root.itertext())


def test_a_heat_map_has_a_cell_for_every_column():
    cells = [(0.25, "25 %", "<low>", True), None, (1.0, "100 %", "", False)]
    root = parse(draw_heat_map({"light & dark": cells}, ["1", "2", "3"]))
    head, row = root.iter("tr")
    assert ["".join(cell.itertext()) for cell in head] == ["", "1", "2", "3"]
    assert ["".join(cell.itertext()) for cell in row] == ["light & dark", "25 %<low>", "", "100 %"]
    assert [cell.get("style") for cell in row[1:]] == ["--v:25%", None, "--v:100%"]
    assert [bold.text for bold in root.iter("b")] == ["25 %"]


finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=50))
def test_curves_stay_inside_the_plot(points):
    x, y = zip(*sorted(points), strict=True)
    root = parse(draw_lines("t", {"a": (x, y)}))
    path = next(p for p in root.iter("path") if p.get("class") == "c0").get("d")
    pairs = re.findall(r"[ML](\S+) ([-\d.]+)", path)
    assert len(pairs) == len(points)
    for a, b in pairs:
        assert -0.1 <= float(a) <= 1000.1
        assert -0.1 <= float(b) <= 300.1


def test_curves_leave_out_what_is_not_finite_and_turn_logarithmic():
    html = draw_lines("t", {"a": ([0, 1, 2, 3], [1.0, np.nan, 0.1, 0.001])})
    assert html.count("L") == 2
    labels = re.findall(r'bottom:[\d.]+%">([^<]+)<', html)
    assert [float(label) for label in labels] == pytest.approx([0.001, 0.01, 0.1, 1])
    assert draw_lines("t", {"a": ([0], [np.inf])}) == ""


def test_histogram_shows_a_single_late_tick():
    root = parse(draw_histogram("late", [0, 1, 2, 3], [999, 0, 1]))
    heights = [float(bar.get("height")) for bar in root.iter("rect")]
    assert heights[0] == pytest.approx(300)
    assert heights[1] == 0
    assert heights[2] > 20


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12, "12"), (0.12345, "0.123"), (19.998, "20.0"), (1234.5, "1234"), (1e-7, "1e-07")],
)
def test_numbers_have_three_digits(value, text):
    assert format_number(value) == text
