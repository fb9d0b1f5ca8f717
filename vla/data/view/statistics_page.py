"""Statistics of every axis with its histogram, as a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla.data.stats import FIELDS, Statistics, VectorStatistics
from vla.data.store import TrajectoryStore
from vla.data.view.page import show_section, show_table, show_tiles, show_unit, write_page
from vla.evaluation.charts import draw_histogram

BINS = 40


def write_statistics_page(
    store: TrajectoryStore, episodes: Sequence[int], statistics: Statistics, path: str | Path
) -> Path:
    """Write a self-contained page.

    Args:
        store: where the episodes are.
        episodes: their numbers.
        statistics: of exactly these.
        path: of the page; replaced atomically.
    """
    ends, records = store.episode_ends, store.records
    spans = [np.arange(ends[n] - records[n].length, ends[n]) for n in episodes]
    frames = np.concatenate(spans)
    tiles = {"episodes": str(len(episodes)), "steps": f"{statistics.state.count:,}"}
    parts = [show_tiles(tiles)]
    for what, vector in (("action", statistics.action), ("state", statistics.state)):
        axes = getattr(store.embodiment, what)
        if not axes:
            continue
        values = store.column(what)[frames]
        charts = []
        for index, axis in enumerate(axes):
            counts, edges = np.histogram(values[:, index].astype(np.float64), bins=BINS)
            charts.append(
                draw_histogram(axis.name, edges.tolist(), counts.tolist(), show_unit(axis))
            )
        units = [axis.unit for axis in axes]
        table = show_table(
            ["axis", "unit", *FIELDS, ""], list_rows(vector, units), numbers=range(2, 8)
        )
        figures = f'<h3>Histograms</h3><div class="figures">{"".join(charts)}</div>'
        note = "Exact over these episodes; bars are steps, on a logarithmic height."
        parts.append(show_section(what.capitalize(), table + figures, note))
    return write_page(path, f"Statistics of {store.location}", parts)


def list_rows(vector: VectorStatistics, units: Sequence[str]) -> list[list[str]]:
    """One row of text per axis: name, unit, the FIELDS, and "no spread" where that is so."""
    dead = vector.degenerate()
    columns = [getattr(vector, key) for key in FIELDS]
    return [
        [name, unit, *(f"{column[at]:.3g}" for column in columns), "no spread" * (name in dead)]
        for at, (name, unit) in enumerate(zip(vector.names, units, strict=True))
    ]
