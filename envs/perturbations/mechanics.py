"""Axes that change the arm: where it starts, and how it and the objects respond."""

from dataclasses import dataclass
from typing import ClassVar

import mink
import numpy as np

from envs.perturbations.edits import ModelEdits
from envs.perturbations.perturbation import Perturbation
from envs.task import Assignment

_START_LOW = np.array([0.30, -0.20, 0.14])
_START_HIGH = np.array([0.66, 0.20, 0.34])
"""Metres: above every object, inside the workspace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPose(Perturbation):
    """The arm begins somewhere else, tilted."""

    axis: ClassVar[str] = "start_pose"
    changes: ClassVar[str] = "The arm starts elsewhere, with the gripper tilted."
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "shift_m": (0.03, 0.055, 0.08, 0.11, 0.14),
        "tilt_deg": (3, 6, 9, 13, 17),
    }

    def start(self, pose: mink.SE3, seed: int) -> mink.SE3:
        """See Perturbation."""
        if not self.level:
            return pose
        rng = self.rng(seed)
        away, about = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
        place = pose.translation() + self.amount("shift_m") * away
        tilt = mink.SO3.exp(np.deg2rad(self.amount("tilt_deg")) * about)
        return mink.SE3.from_rotation_and_translation(
            tilt @ pose.rotation(), np.clip(place, _START_LOW, _START_HIGH)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Dynamics(Perturbation):
    """Heavier or lighter objects, more or less friction, stiffer or softer servos, late commands.

    `body_invweight0` stays as compiled: a little softness of contacts, not worth a recompilation.
    """

    axis: ClassVar[str] = "dynamics"
    changes: ClassVar[str] = (
        "Objects' mass, all friction and the arm's servo gains are scaled up or down; commands "
        "come ticks too late."
    )
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "mass_octaves": (0.25, 0.5, 0.75, 1.0, 1.5),
        "friction_octaves": (0.1, 0.2, 0.35, 0.5, 0.7),
        "gain_octaves": (0.1, 0.2, 0.35, 0.5, 0.7),
        "delay_ticks": (0, 0, 1, 1, 2),
    }

    def edit(self, edits: ModelEdits, assignment: Assignment, seed: int) -> None:
        """See Perturbation."""
        signs = self.rng(seed).choice([-1.0, 1.0], size=3)
        quantities = ("mass_octaves", "friction_octaves", "gain_octaves")
        amounts = np.array([self.amount(name) for name in quantities])
        mass, friction, gain = 2.0 ** (signs * amounts)
        slots = range(len(assignment.layout.things))
        bodies = [edits.model.body(f"object{slot}").id for slot in slots]
        edits.array("body_mass")[bodies] *= mass
        edits.array("body_inertia")[bodies] *= mass
        # A contact takes the larger friction of its two sides, so all of them change.
        edits.array("geom_friction")[:, 0] *= friction
        edits.array("actuator_gainprm")[:7, 0] *= gain
        edits.array("actuator_biasprm")[:7, 1:3] *= gain

    @property
    def delay(self) -> int:
        """See Perturbation."""
        return int(self.amount("delay_ticks"))
