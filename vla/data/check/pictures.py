"""Checks of cameras: blind, stuck, burnt out, in another colour order, turned."""

from collections.abc import Callable, Iterator

import numpy as np

from vla.data.check.finding import Finding, describe_steps
from vla.data.check.motion import find_longest_run, measure_steps
from vla.data.check.survey import Episode, Glimpse, Survey
from vla.types import Float32

BLACK = 8.0
"""Grey level below which the mean of a picture is black."""
FLAT = 2.0
"""Standard deviation of a picture, grey levels, below which it shows nothing."""
WHITE_SHARE = 0.5
FROZEN_SECONDS = 0.5
MOVES = 0.3
"""Of the usual path: the state moves at least this much while the pictures stand still."""
SLOW = 0.25
"""Share of repeated frames from which the camera is called slow."""
DISTINCT = 12.0
"""Grey levels (RMS) by which a picture must differ from its turned or recoloured self."""
BETTER = 0.6
"""A turned picture must come closer to the other episodes' by this factor."""


def find_blind_cameras(survey: Survey) -> Iterator[Finding]:
    """Black, flat and over-exposed pictures; one finding when a whole camera is so."""
    for camera in survey.embodiment.cameras:
        verdicts = {e.index: _judge(e.glimpses[camera]) for e in survey.episodes if e.glimpses}
        for kind, severity in (
            ("black_camera", "error"),
            ("constant_picture", "error"),
            ("over_exposed", "warning"),
        ):
            bad = [index for index, (found, _) in verdicts.items() if found == kind]
            if len(bad) > 3 and len(bad) > 0.2 * len(verdicts):
                message = (
                    f"in {len(bad)} of {len(verdicts)} episodes {verdicts[bad[0]][1]}"
                    f" (episodes {', '.join(map(str, bad[:8]))}{', ...' if len(bad) > 8 else ''})"
                )
                yield Finding(kind=kind, severity=severity, message=message, camera=camera)
                continue
            for index in bad:
                yield Finding(
                    kind=kind,
                    severity=severity,
                    message=verdicts[index][1],
                    episode=index,
                    camera=camera,
                )


def _judge(glimpse: Glimpse) -> tuple[str, str]:
    """Kind and words of what is wrong with an episode's pictures; empty when nothing is."""
    count = len(glimpse.steps)
    level = float(np.median(glimpse.thumbnails.mean(axis=(1, 2, 3))))
    contrast, white = float(np.median(glimpse.contrast)), float(np.median(glimpse.white))
    if level < BLACK:
        return "black_camera", f"pictures are black: mean level {level:.1f} of 255 ({count} frames)"
    if white > WHITE_SHARE:
        what = f"{100 * white:.0f} % of the pixels are white ({count} frames)"
        return "over_exposed", what
    if contrast < FLAT:
        what = f"pictures have one colour: standard deviation {contrast:.2f} ({count} frames)"
        return "constant_picture", what
    return "", ""


def find_frozen_cameras(survey: Survey) -> Iterator[Finding]:
    """The same picture again and again while the body moves."""
    _, rows = survey.vectors("state")
    paths = measure_steps([values for _, values in rows])
    if not paths:
        return
    usual = float(np.median(np.concatenate(paths)))
    least = max(4, round(FROZEN_SECONDS * survey.embodiment.hz))
    for (episode, _), path in zip(rows, paths, strict=True):
        for camera, glimpse in episode.glimpses.items():
            if _judge(glimpse)[0]:
                continue  # a black picture repeats itself as well; said once is enough
            first, stop = find_longest_run(glimpse.repeats)
            first = max(first - 1, 0)  # the picture that is then repeated
            moved = float(path[first : stop - 1].sum())
            if stop - first > least and moved > MOVES * usual * (stop - first):
                frames = (first, stop)
                message = (
                    f"the picture stands still at {describe_steps(frames)} while the body moves"
                )
                yield Finding(
                    kind="frozen_camera",
                    severity="error",
                    message=message,
                    episode=episode.index,
                    frames=frames,
                    camera=camera,
                )


def find_slow_cameras(survey: Survey) -> Iterator[Finding]:
    """Frames that serve several steps throughout the store: the camera lags the control rate."""
    for camera in survey.embodiment.cameras:
        kept = [
            glimpse.repeats[1:]
            for episode in survey.episodes
            if (glimpse := episode.glimpses.get(camera)) is not None and not _judge(glimpse)[0]
        ]
        repeats = np.concatenate(kept) if kept else np.zeros(0, bool)
        # Frozen stretches are long; a slow camera repeats often, and briefly.
        if len(repeats) and np.median([run.mean() for run in kept if len(run)]) > SLOW:
            message = f"{100 * repeats.mean():.0f} % of the frames repeat the one before"
            yield Finding(kind="repeated_frames", severity="note", message=message, camera=camera)


Change = Callable[[Float32], Float32]
TURNS: dict[str, Change] = {
    "turned by half a turn": lambda picture: picture[::-1, ::-1],
    "upside down": lambda picture: picture[::-1],
    "mirrored": lambda picture: picture[:, ::-1],
}


def find_swapped_channels(survey: Survey) -> Iterator[Finding]:
    """Episodes whose colours match the others' once red and blue change places."""
    swaps = {"red and blue change places": lambda picture: picture[..., ::-1]}
    for episode, camera, _, near, far in _find_changed(survey, swaps):
        message = (
            f"colours match the other episodes' once red and blue change places (difference "
            f"{far:.0f}, then {near:.0f} grey levels)"
        )
        yield Finding(
            kind="swapped_channels",
            severity="error",
            message=message,
            episode=episode.index,
            camera=camera,
        )


def find_turned_cameras(survey: Survey) -> Iterator[Finding]:
    """Episodes whose pictures match the others' once they are turned or mirrored."""
    for episode, camera, name, near, far in _find_changed(survey, TURNS):
        message = (
            f"pictures are {name}, compared with the other episodes (difference {far:.0f}, "
            f"turned {near:.0f} grey levels)"
        )
        yield Finding(
            kind="turned_camera",
            severity="error",
            message=message,
            episode=episode.index,
            camera=camera,
        )


def _find_changed(
    survey: Survey, changes: dict[str, Change]
) -> Iterator[tuple[Episode, str, str, float, float]]:
    """(episode, camera, change, difference after, before) where a change explains the picture.

    Compared with the median picture of all episodes: a camera that shows another scene each
    time has none to speak of, and is left alone.
    """
    for camera in survey.embodiment.cameras:
        seen = [e for e in survey.episodes if camera in e.glimpses]
        if len(seen) < 3:
            continue
        means = np.stack([episode.glimpses[camera].mean for episode in seen])
        reference = np.median(means, axis=0)
        usual = float(np.median([_differ(mean, reference) for mean in means]))
        for name, change in changes.items():
            if _differ(change(reference), reference) < max(DISTINCT, 2 * usual):
                continue
            for episode, mean in zip(seen, means, strict=True):
                far, near = _differ(mean, reference), _differ(change(mean), reference)
                best = min(_differ(other(mean), reference) for other in changes.values())
                if near < BETTER * far and far > 1.5 * usual and near == best:
                    yield episode, camera, name, near, far


def _differ(left: Float32, right: Float32) -> float:
    """Root mean square difference, grey levels."""
    return float(np.sqrt(np.mean((left - right) ** 2)))
