"""What triage may say: the causes it knows, each with its remedy."""

from collections.abc import Mapping
from dataclasses import dataclass

CAUSES = {
    "camera order": "Give each camera the name it had in the data; check the device numbers.",
    "channel order": "Convert pictures to RGB where they are read (OpenCV delivers BGR).",
    "upside down": "Turn the picture as the converter of the training data did.",
    "mirrored": "Remove the mirroring where pictures are read.",
    "gripper sign": "Swap open and shut: compare the gripper convention of data and driver.",
    "axis sign": "Check the frame of this axis: base or tool, left- or right-handed.",
    "axis order": "Compare the order of the action axes in data and driver.",
    "action statistics": "Compute the statistics anew (`vla data stats`) and load those of the "
    "data that the policy was trained on; check the units.",
    "state statistics": "Check units and zero of the state sensors, and the state statistics.",
    "late plans": "Observations are old: shorten the camera's buffer, or plan from the time they "
    "were taken (control=async).",
    "late actuation": "Measure the delay of the arm and set control.action_delay, or train on "
    "data with the same delay.",
    "rate limits": "Raise control.rate_limits; demonstrations themselves need more.",
    "step limit": "Raise evaluation.max_steps; demonstrations themselves take longer.",
    "control chain": "Demonstrations fail when replayed, whatever the limits: check the control "
    "rate, the action mode and what the driver does with commands.",
    "world impassable": "Even scripted experts, who see the truth, fail here: mend world and arm "
    "(friction, payload, what the driver does with commands) before judging any policy.",
    "camera frozen": "Its picture never changes: check the cable and the grabbing thread.",
    "words ignored": "Check that the instruction reaches the policy; train with several "
    "instructions for the same scene.",
    "not trained": "Train longer, or load the right checkpoint: its plans are hardly better than "
    "the mean action.",
    "unlike training": "Record demonstrations in the world as it is now, or augment pictures.",
    "drift": "Plans are right on demonstrations, not on what the policy itself runs into: record "
    "corrections (record.noise, or takeovers), and more scenes.",
}
LEAST = 0.12
"""Smallest share of the error that a repair must undo to be named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A likely cause: a key of CAUSES, its score in 0..1, what was seen, what to do."""

    cause: str
    score: float
    evidence: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What happened to demonstrations and to the policy in the world as deployed.

    Attributes:
        experts: share of the scenes that experts manage.
        replayed: by "as it is", "no rate limits" and "no step limit" the share of demonstrations
            that still succeed when replayed (see `probes.replay_demonstration`); empty when there
            is no demonstration that succeeds.
        success: rate of the policy itself; None: not run.
        floor: rate of random actions; None: not run.
    """

    replayed: Mapping[str, float]
    success: float | None = None
    floor: float | None = None
    experts: float = 1.0
