"""All checks over a store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vla.data.check import clock, motion, numbers, pairing, pictures, records
from vla.data.check.finding import SEVERITIES, Finding
from vla.data.check.survey import survey_store
from vla.data.store import TrajectoryStore
from vla.errors import DataError

CHECKS = (
    clock.find_disorder,
    clock.find_gaps,
    clock.find_wrong_rate,
    clock.find_jitter,
    clock.find_camera_lag,
    numbers.find_not_finite,
    numbers.find_out_of_bounds,
    numbers.find_constant_axes,
    numbers.find_wrong_units,
    numbers.find_drift,
    motion.find_angle_wraps,
    motion.find_jumps,
    motion.find_idle,
    motion.find_zero_first_action,
    pairing.find_action_mismatch,
    pairing.find_gripper_flips,
    pictures.find_blind_cameras,
    pictures.find_frozen_cameras,
    pictures.find_slow_cameras,
    pictures.find_swapped_channels,
    pictures.find_turned_cameras,
    records.find_duplicates,
    records.find_missing_language,
    records.find_mixed_success,
    records.find_short_episodes,
)
"""Each takes a Survey and yields Findings; none changes anything or knows of another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What came out.

    Attributes:
        findings: gravest first, then by episode.
        episodes, steps: that were looked at.
        decoded: pictures decoded; all others were compared as bytes only.
    """

    findings: tuple[Finding, ...]
    episodes: int
    steps: int
    decoded: int

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "episodes": self.episodes,
            "steps": self.steps,
            "decoded": self.decoded,
            "findings": [finding.to_json() for finding in self.findings],
        }


def inspect_store(
    store: TrajectoryStore,
    *,
    frames: int = 8,
    verify: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Run every check.

    Args:
        store: what to check; nothing is written.
        frames: decoded per episode and camera; 0 leaves pictures alone.
        verify: compare every file with its digest first (reads the whole store).
        progress: told (episodes read, episodes in all).
    """
    try:
        if verify:
            store.verify()
        survey = survey_store(store, frames=frames, progress=progress)
    except DataError as error:
        # What cannot be read cannot be checked: this finding stands alone.
        found = [Finding(kind="damaged_file", severity="error", message=str(error))]
        return Inspection(findings=tuple(found), episodes=0, steps=0, decoded=0)
    found = [finding for check in CHECKS for finding in check(survey)]
    found.sort(key=lambda f: (SEVERITIES.index(f.severity), -1 if f.episode is None else f.episode))
    decoded = sum(len(g.steps) for e in survey.episodes for g in e.glimpses.values())
    return Inspection(
        findings=tuple(found),
        episodes=store.num_episodes,
        steps=store.num_frames,
        decoded=decoded,
    )
