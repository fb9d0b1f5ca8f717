"""Filmed episodes in a report."""

import base64
from html import escape

from vla.evaluation.failures import count_failures, name_failure
from vla.evaluation.journal import EpisodeResult
from vla.evaluation.result import Evaluation
from vla.evaluation.sections import make_section
from vla.evaluation.videos import film_path

FILM_BYTES = 48 * 2**20  # of all films together, so that the page still opens


def show_films(evaluation: Evaluation) -> str:
    """Filmed episodes, embedded: successes, then failures by kind, the most frequent first."""
    if evaluation.directory is None:
        return ""
    kinds = {"": ("good", "Successes")}
    for kind, count in count_failures(evaluation.episodes).items():
        kinds[kind] = ("bad", f"Failures: {kind} ({count})")
    films: dict[str, str] = dict.fromkeys(kinds, "")
    left, dropped = FILM_BYTES, 0
    for episode in evaluation.episodes:
        path = film_path(evaluation.directory, episode)
        if not path.exists():
            continue
        content = path.read_bytes()
        if len(content) > left:
            dropped += 1
            continue
        left -= len(content)
        films["" if episode.success else name_failure(episode)] += _embed(episode, content)
    body = "".join(
        f'<h3 class="{kinds[kind][0]}">{escape(kinds[kind][1])}</h3><div class="films">{html}</div>'
        for kind, html in films.items()
        if html
    )
    note = "The first successes and failures of each task to end, not a selection by looks."
    if dropped:
        note += f" {dropped} more are left out to keep this page small."
    return make_section("Episodes", body, note)


def _embed(episode: EpisodeResult, content: bytes) -> str:
    data = base64.b64encode(content).decode()
    return (
        '<figure><video controls loop muted playsinline preload="metadata" '
        f'src="data:video/mp4;base64,{data}"></video><div class="small">'
        f"{escape(episode.task)}:{episode.seed}, "
        f"{escape(episode.instruction or 'no instruction')}</div></figure>"
    )
