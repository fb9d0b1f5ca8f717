"""Findings of an inspection as a page, with pictures of the frames they are about."""

from html import escape
from pathlib import Path

import numpy as np

from vla.data.check.finding import SEVERITIES, Finding
from vla.data.check.inspection import Inspection
from vla.data.store import TrajectoryStore
from vla.data.view.page import show_picture, show_section, show_tiles, write_page

PICTURES = 60
"""On a page, so that it still opens."""
EACH = 4
"""Pictures of one finding."""
LISTED = 200
"""Findings of one kind that are listed one by one."""

SMALL = 'style="grid-template-columns:repeat(auto-fill,minmax(8rem,1fr));margin:.5rem 0"'


def write_check_page(store: TrajectoryStore, inspection: Inspection, path: str | Path) -> Path:
    """Write a self-contained page.

    Args:
        store: that was inspected.
        inspection: what came out.
        path: of the page; replaced atomically.
    """
    tiles = {
        "episodes": f"{inspection.episodes:,}",
        "steps": f"{inspection.steps:,}",
        "pictures decoded": f"{inspection.decoded:,}",
        **{f"{severity}s": str(inspection.count(severity)) for severity in SEVERITIES},
    }
    parts = [show_tiles(tiles)]
    left = PICTURES
    for kind in dict.fromkeys(finding.kind for finding in inspection.findings):
        group = [finding for finding in inspection.findings if finding.kind == kind]
        body, used = _show_group(store, group, left)
        left -= used
        title = f"{kind.replace('_', ' ')} · {group[0].severity}"
        parts.append(show_section(title, body, f"What to do: {group[0].remedy}"))
    if not inspection.findings:
        parts.append(show_section("Nothing found", "<p>Every check passed.</p>"))
    return write_page(path, f"Check of {store.location}", parts)


def _show_group(store: TrajectoryStore, group: list[Finding], left: int) -> tuple[str, int]:
    """HTML of findings of one kind, and how many pictures it holds."""
    items, used = [], 0
    for finding in group[:LISTED]:
        place = [] if finding.episode is None else [f"episode {finding.episode}"]
        place += [finding.camera] if finding.camera else []
        head = f"<b>{escape(', '.join(place))}</b> " if place else ""
        pictures = _show_pictures(store, finding) if used + EACH <= left else []
        used += len(pictures)
        shown = f'<div class="films" {SMALL}>{"".join(pictures)}</div>' if pictures else ""
        items.append(f"<li>{head}{escape(finding.message)}{shown}</li>")
    if len(group) > LISTED:
        items.append(f"<li>{len(group) - LISTED} more</li>")
    return f"<ul>{''.join(items)}</ul>", used


def _show_pictures(store: TrajectoryStore, finding: Finding) -> list[str]:
    """The frames a finding is about; none when it is about files, words or the whole store."""
    about_frames = finding.camera or (finding.frames and finding.episode is not None)
    if not about_frames or not store.embodiment.cameras:
        return []
    number = finding.episode or 0
    record, end = store.records[number], int(store.episode_ends[number])
    first, stop = finding.frames or (0, record.length)
    stop = min(stop, record.length)
    steps = np.unique(np.linspace(first, stop - 1, EACH).round().astype(np.int64))
    camera = finding.camera or next(iter(store.embodiment.cameras))
    pictures = store.read_frames(camera, end - record.length + steps)
    return [
        show_picture(picture, f"{camera}, step {step}")
        for picture, step in zip(pictures, steps.tolist(), strict=True)
    ]
