"""Checks of what is said about episodes: words, verdicts, lengths, repetitions."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from vla.data.check.finding import Finding
from vla.data.check.survey import Episode, Survey

SHORT = 0.1
"""An episode below this share of the median length is suspect."""
FEWEST = 4
"""Steps below which an episode teaches nothing."""


def find_duplicates(survey: Survey) -> Iterator[Finding]:
    """The same content twice, or the same numbers under other words or pictures."""
    by_uid: dict[str, list[int]] = defaultdict(list)
    by_numbers: dict[str, list[Episode]] = defaultdict(list)
    for episode in survey.episodes:
        by_uid[episode.record.uid].append(episode.index)
        digest = hashlib.sha256(episode.state.tobytes())
        if episode.action is not None:
            digest.update(episode.action.tobytes())
        by_numbers[digest.hexdigest()].append(episode)
    for first, *others in by_uid.values():
        for index in others:
            message = f"the same content as episode {first}, bit for bit"
            yield Finding(kind="duplicate", severity="warning", message=message, episode=index)
    for first, *others in by_numbers.values():
        for episode in others:
            moves = len(episode) > 1 and bool(np.ptp(episode.state, axis=0).any())
            if moves and episode.record.uid != first.record.uid:
                message = (
                    f"the same states and actions as episode {first.index}, "
                    "with other words, verdict or pictures"
                )
                yield Finding(
                    kind="duplicate", severity="warning", message=message, episode=episode.index
                )


def find_missing_language(survey: Survey) -> Iterator[Finding]:
    """Episodes that do not say what is done."""
    silent = [e.index for e in survey.episodes if not e.record.instruction.strip()]
    if silent and len(silent) == len(survey.episodes):
        message = "no episode has an instruction; a policy cannot tell tasks apart"
        yield Finding(kind="missing_language", severity="warning", message=message)
        return
    for index in silent:
        message = "no instruction, although other episodes have one"
        yield Finding(kind="missing_language", severity="error", message=message, episode=index)


def find_mixed_success(survey: Survey) -> Iterator[Finding]:
    """Verdicts on some episodes only, and episodes that failed."""
    verdicts = [episode.record.success for episode in survey.episodes]
    unknown = verdicts.count(None)
    if 0 < unknown < len(verdicts):
        message = f"{unknown} of {len(verdicts)} episodes do not say whether they succeeded"
        yield Finding(kind="mixed_success", severity="warning", message=message)
    if failures := verdicts.count(False):
        numbers = [e.index for e in survey.episodes if e.record.success is False]
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if failures > 10 else "")
        message = f"{failures} of {len(verdicts)} episodes failed: {shown}"
        yield Finding(kind="failed_episodes", severity="note", message=message)


def find_short_episodes(survey: Survey) -> Iterator[Finding]:
    """Episodes that end before anything can have happened."""
    if not survey.episodes:
        return
    median = float(np.median([len(episode) for episode in survey.episodes]))
    for episode in survey.episodes:
        if len(episode) < FEWEST or len(episode) < SHORT * median:
            message = f"{len(episode)} steps; the median episode has {median:.0f}"
            yield Finding(
                kind="too_short", severity="warning", message=message, episode=episode.index
            )
