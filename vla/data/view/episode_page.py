"""One episode as a page: films, words, and a curve for every axis."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from vla.data.store import TrajectoryStore
from vla.data.view.page import (
    show_film,
    show_section,
    show_table,
    show_tiles,
    show_unit,
    write_page,
)
from vla.embodiment import Axis
from vla.evaluation.charts import draw_lines
from vla.evaluation.videos import encode_video
from vla.types import Trajectory, Uint8

SMALLEST = 240
"""Rows below which a film is enlarged by a whole factor: pixels stay what they are."""


def write_episode_page(store: TrajectoryStore, number: int, path: str | Path) -> Path:
    """Write a self-contained page about one episode.

    Args:
        store: where it is.
        number: which one, from 0.
        path: of the page; replaced atomically.

    Raises:
        DataError: when there is no such episode, or it is damaged.
    """
    episode = store.episode(number)
    record = store.records[number]
    verdict = {True: "yes", False: "no", None: "not said"}[episode.success]
    tiles = {
        "steps": str(len(episode)),
        "seconds": f"{len(episode) / store.embodiment.hz:.1f}",
        "rate, Hz": f"{store.embodiment.hz:g}",
        "success": verdict,
    }
    words = f"<p>{escape(episode.instruction or '(no instruction)')}</p>"
    if episode.subtasks:
        rows = [[f"{t.start} to {t.stop - 1}", t.text] for t in episode.subtasks]
        words += show_table(["steps", "subtask"], rows)
    source = [[key, str(value)] for key, value in episode.source.items()]
    origin = [["store", store.location], ["uid", record.uid], *source]
    axes = store.embodiment
    return write_page(
        path,
        f"{axes.name}, episode {number} of {store.num_episodes}",
        [
            show_tiles(tiles),
            show_section("Instruction", words),
            _show_films(episode, store.embodiment.hz),
            _show_curves("Actions", axes.action, {"asked": episode.action, "sent": episode.sent}),
            _show_curves("State", axes.state, {"state": episode.state}),
            _show_time(episode),
            show_section("Provenance", show_table(["", ""], origin)),
        ],
    )


def _show_films(episode: Trajectory, hz: float) -> str:
    films = []
    with TemporaryDirectory() as folder:
        for camera, frames in episode.images.items():
            file = Path(folder) / "film.mp4"
            encode_video(file, _prepare(np.asarray(frames)), hz=hz)
            height, width = np.asarray(frames).shape[1:3]
            films.append(show_film(file.read_bytes(), f"{camera}, {height}x{width}"))
    return show_section("Cameras", f'<div class="films">{"".join(films)}</div>') if films else ""


def _prepare(frames: Uint8) -> Iterator[Uint8]:
    """Frames (N, H, W, 3) at least SMALLEST rows high, with even sides, as the encoder asks."""
    factor = max(1, -(-SMALLEST // frames.shape[1]))
    for frame in frames:
        large = frame.repeat(factor, axis=0).repeat(factor, axis=1)
        yield np.ascontiguousarray(large[: len(large) // 2 * 2, : large.shape[1] // 2 * 2])


def _show_curves(
    title: str, axes: tuple[Axis, ...], series: dict[str, NDArray[np.float32] | None]
) -> str:
    """A chart per axis over the steps; series that were not recorded are left out."""
    given = {name: values for name, values in series.items() if values is not None}
    if not given or not axes:
        return ""
    drawn = []
    for index, axis in enumerate(axes):
        curves = {name: (range(len(v)), v[:, index].tolist()) for name, v in given.items()}
        drawn.append(
            draw_lines(
                f"{axis.name} ({', '.join(filter(None, (show_unit(axis), axis.mode)))})", curves
            )
        )
    return show_section(title, f'<div class="figures">{"".join(drawn)}</div>')


def _show_time(episode: Trajectory) -> str:
    """How long each step took, and how old its pictures were."""
    steps = np.diff(episode.time) * 1e3
    curves = {"step": (range(1, len(episode)), steps.tolist())}
    for camera, captured in episode.captured.items():
        age = (episode.time - captured) * 1e3
        curves[f"age of {camera}"] = (range(len(episode)), age.tolist())
    chart = draw_lines("milliseconds", curves)
    return show_section("Time", f'<div class="figures">{chart}</div>') if chart else ""
