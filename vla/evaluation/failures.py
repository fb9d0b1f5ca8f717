"""Failures by kind: what to watch first."""

from collections.abc import Iterable

from vla.evaluation.journal import EpisodeResult

WRONG_GRASP = "took a wrong object"


def name_failure(episode: EpisodeResult) -> str:
    """The kind of a failed episode: a wrong object taken, else the world's own reason."""
    if episode.figures.get("wrong_grasps", 0) > 0:
        return WRONG_GRASP
    return episode.reason or "failed without a reason given"


def count_failures(episodes: Iterable[EpisodeResult]) -> dict[str, int]:
    """How many failures there are of each kind, the most frequent first."""
    counts: dict[str, int] = {}
    for episode in episodes:
        if not episode.success:
            kind = name_failure(episode)
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
