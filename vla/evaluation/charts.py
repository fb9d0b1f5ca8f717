"""Charts as HTML with inline SVG: they follow the page's width, font and colours.

A picture from a plotting library has one size and one background; these stay
readable on a phone and in the dark. Only curves are SVG, stretched without
thickening; all text is HTML. Colours are CSS classes `c0`..`c3` of report.css.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

import numpy as np

COLOURS = 4
MAX_POINTS = 300


def draw_intervals(
    rows: Sequence[tuple[str, float, float, float, str, int]], chance: float | None = None
) -> str:
    """Dots with whiskers on a 0..100 % scale.

    Args:
        rows: (label, rate, low, high, note, colour number); an empty label continues the group
            above it.
        chance: where to draw a dashed line, if anywhere.
    """
    line = f'<i class="chance" style="left:{100 * chance:.2f}%"></i>' if chance is not None else ""
    parts = []
    for label, rate, low, high, note, colour in rows:
        parts.append(
            f'<div class="row{"" if label else " more"} c{colour % COLOURS}">'
            f'<span class="label">{escape(label)}</span><div class="track">{line}'
            f'<i class="whisker" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
            f'<i class="dot" style="left:{100 * rate:.2f}%"></i></div>'
            f'<span class="note">{escape(note)}</span></div>'
        )
    ticks = "".join(f'<span style="left:{p}%">{p}</span>' for p in (0, 25, 50, 75))
    ticks += '<span style="left:100%">100&nbsp;%</span>'
    scale = (
        f'<div class="row scale"><span></span><div class="ticks">{ticks}</div><span></span></div>'
    )
    return f'<div class="intervals">{"".join(parts)}{scale}</div>'


def draw_heat_map(
    rows: Mapping[str, Sequence[tuple[float, str, str, bool] | None]], columns: Sequence[str]
) -> str:
    """A table whose cells are the greener the larger their value.

    Args:
        rows: by label, per column (value in 0..1, text, small text, whether bold), or None for an
            empty cell.
        columns: headings.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = ""
    for label, cells in rows.items():
        body += f"<tr><th>{escape(label)}</th>"
        for cell in cells:
            if cell is None:
                body += "<td></td>"
                continue
            value, text, small, bold = cell
            tag = "b" if bold else "span"
            body += (
                f'<td style="--v:{100 * value:.0f}%"><{tag}>{escape(text)}</{tag}>'
                f'<br/><span class="small">{escape(small)}</span></td>'
            )
        body += "</tr>"
    table = f"<table><tr><th></th>{head}</tr>{body}</table>"
    return f'<div class="scroll heat">{table}</div>'


def draw_legend(names: Sequence[str], extra: str = "") -> str:
    """Colour patches with names; `extra` explains the dashed line."""
    items = [f'<span class="c{i % COLOURS}"><i></i>{escape(n)}</span>' for i, n in enumerate(names)]
    if extra:
        items.append(f'<span class="dashed"><i></i>{escape(extra)}</span>')
    return f'<div class="legend">{"".join(items)}</div>'


def draw_lines(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    unit: str = "step",
) -> str:
    """Curves y over x by name; logarithmic when positive values span more than a factor 30.

    Values that are not finite are left out; series without a point too; "" when none is left.
    `unit` is that of x.
    """
    curves = {name: _thin(np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in
              series.items()}  # fmt: skip
    curves = {name: xy for name, xy in curves.items() if len(xy[0])}
    if not curves:
        return ""
    x_all = np.concatenate([x for x, _ in curves.values()])
    y_all = np.concatenate([y for _, y in curves.values()])
    logarithmic = bool(y_all.min() > 0 and y_all.max() > 30 * y_all.min())
    shown = np.log10(y_all) if logarithmic else y_all
    ticks = _choose_ticks(float(shown.min()), float(shown.max()))
    low, high = min(ticks[0], shown.min()), max(ticks[-1], shown.max())
    left, right = float(x_all.min()), float(x_all.max())
    width = max(right - left, 1e-12)
    paths = []
    for number, (x, y) in enumerate(curves.values()):
        height = (np.log10(y) if logarithmic else y) - low
        points = zip((x - left) / width * 1000, 300 - height / (high - low) * 300, strict=True)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        # A single point still shows, as a dot of the line's width.
        paths.append(
            f'<path class="c{number % COLOURS}" d="{path}{"h0.1" if len(x) == 1 else ""}"/>'
        )
    labels = {(t - low) / (high - low): 10**t if logarithmic else t for t in ticks}
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{draw_legend(list(curves))}"
        f"{_frame(''.join(paths), labels, [left, (left + right) / 2, right], unit)}</figure>"
    )


def draw_histogram(
    title: str, edges: Sequence[float], counts: Sequence[int], unit: str = "ms"
) -> str:
    """Bars of `counts` (n,) between `edges` (n + 1,), on a logarithmic height.

    The tail is the point of a latency histogram, and a linear height would hide it.
    """
    left, right = float(edges[0]), float(edges[-1])
    heights = np.log10(np.asarray(counts, float) + 1)
    top = max(1, ceil(float(heights.max())))
    bars = []
    for begin, end, height in zip(edges[:-1], edges[1:], heights, strict=True):
        x, w = (begin - left) / (right - left) * 1000, (end - begin) / (right - left) * 1000
        h = 300 * height / top
        bars.append(f'<rect x="{x:.1f}" y="{300 - h:.1f}" width="{0.9 * w:.1f}" height="{h:.1f}"/>')
    labels = {np.log10(10**k + 1) / top: 10**k for k in range(top + 1) if 10**k < 10**top}
    body = f'<g class="c0">{"".join(bars)}</g>'
    frame = _frame(body, labels, [left, (left + right) / 2, right], unit)
    return f"<figure><figcaption>{escape(title)}</figcaption>{frame}</figure>"


def format_number(value: float) -> str:
    """Three significant digits, without an exponent where that stays short."""
    size = abs(value)
    if value == round(value) and size < 1e6:
        return f"{value:.0f}"
    if 1e-3 <= size < 1e5:
        digits = max(0, 2 - floor(log10(size)))
        return f"{value:.{digits}f}"
    return f"{value:.2g}"


def _format_place(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _frame(body: str, y_labels: Mapping[float, float], x_labels: Sequence[float], unit: str) -> str:
    """Axes around `body`, drawn in a 1000 x 300 box; y labels by height in 0..1."""
    marks = [(at, f"{value:.4g}") for at, value in y_labels.items()]
    grid = "".join(f'<path class="grid" d="M0 {300 - 300 * at:.1f}H1000"/>' for at, _ in marks)
    rows = "".join(f'<span style="bottom:{100 * at:.2f}%">{text}</span>' for at, text in marks)
    columns = "".join(f"<span>{_format_place(value)}</span>" for value in x_labels)
    return (
        f'<div class="plot"><div class="y">{rows}</div>'
        f'<svg viewBox="0 0 1000 300" preserveAspectRatio="none" role="img">{grid}{body}</svg>'
        f'<div class="x">{columns}</div><div class="unit">{escape(unit)}</div></div>'
    )


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite points, averaged in runs when there are more than a screen can show."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= MAX_POINTS:
        return x, y
    runs = np.array_split(np.arange(len(x)), MAX_POINTS)
    return np.array([x[run].mean() for run in runs]), np.array([y[run].mean() for run in runs])


def _choose_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that enclose low..high."""
    span = max(high - low, abs(high) * 1e-3, 1e-9)
    unit = 10.0 ** floor(log10(span))
    for factor in (0.2, 0.25, 0.5, 1, 2):
        step = factor * unit
        first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
        if last - first <= 5:
            break
    return [k * step for k in range(first, max(last, first + 1) + 1)]
