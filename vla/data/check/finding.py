"""One thing that is wrong with a store, and what to do about it."""

from dataclasses import dataclass
from typing import Any

SEVERITIES = ("error", "warning", "note")
"""error: training on this is a mistake; warning: look at it; note: know it."""

REMEDIES = {
    "damaged_file": "Copy the store anew from its source, or convert the data again.",
    "duplicate": "Drop all but one: `vla data edit drop=[...]`; they count double in training.",
    "missing_language": 'Say what is done: `vla data edit instruction=[" -> the words"]`.',
    "mixed_success": "Label all episodes or none; a filter on success would drop the unlabelled.",
    "failed_episodes": "Drop them when you imitate: `vla data edit drop=[...]`.",
    "too_short": "Drop the episode, or find out why recording stopped.",
    "time_order": "Repair the writer's clock; until then drop the episode.",
    "time_gap": "Keep one side of the gap: `vla data edit trim=[EPISODE:FIRST:STOP]`.",
    "wrong_rate": "Convert again with the true rate: every duration depends on it.",
    "jitter": "Record on a fixed grid of ticks; resample the episode, or drop it.",
    "camera_lag": "Stamp frames when they are exposed and pair each row with the newest one.",
    "not_finite": "Repair the source, or drop the episode.",
    "action_bounds": "Clip when recording, or declare the true bounds and convert again.",
    "state_bounds": "Declare the true bounds; if only few episodes differ, suspect their units.",
    "constant_axis": "Leave the axis out of the embodiment, or record episodes that move it.",
    "wrong_units": "Convert the episode again in SI units: metres and radians.",
    "stats_drift": "Look at the episode: moved base, new zero of a joint, or another set-up?",
    "jump": "Look at the step; trim around it when the sensor or the tracking slipped.",
    "angle_wrap": "Unwrap angles before storing, and wrap differences into (-pi, pi].",
    "idle": "Trim the stretch, or keep it knowingly: policies learn to wait from it.",
    "zero_first_action": "Trim the first step of each episode; a policy learns to begin with it.",
    "gripper_flip": "Convert again with one meaning of open and closed everywhere.",
    "action_mismatch": "Check sign, order, frame and pairing in time of the action axes.",
    "black_camera": "Leave the camera out, or drop the episode; check cable and exposure.",
    "constant_picture": "Leave the camera out, or drop the episode: it shows nothing.",
    "over_exposed": "Lower the exposure; drop the episode when the object cannot be seen.",
    "frozen_camera": "Drop the episode, or trim the stretch; check the camera's driver.",
    "repeated_frames": "The camera is slower than the control loop, or a video codec saved bytes.",
    "swapped_channels": "Convert the episode again as RGB; OpenCV reads and writes BGR.",
    "turned_camera": "Turn the pictures when converting, so that all episodes look alike.",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a key of REMEDIES.
        severity: one of SEVERITIES.
        message: what was seen, with figures.
        episode: its number; None when it concerns the whole store.
        frames: (first, past the last) step within the episode; None for all of it.
        camera: its name, for findings about pictures.
    """

    kind: str
    severity: str
    message: str
    episode: int | None = None
    frames: tuple[int, int] | None = None
    camera: str = ""

    @property
    def remedy(self) -> str:
        """What to do, in words."""
        return REMEDIES[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Plain values, the remedy included."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "episode": self.episode,
            "frames": list(self.frames) if self.frames else None,
            "camera": self.camera,
            "message": self.message,
            "remedy": self.remedy,
        }


def describe_steps(frames: tuple[int, int]) -> str:
    """Words for `Finding.frames`: "step 7", "steps 7 to 9"."""
    first, stop = frames
    return f"step {first}" if stop - first == 1 else f"steps {first} to {stop - 1}"
