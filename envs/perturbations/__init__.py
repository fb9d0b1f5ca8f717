"""Perturbation axes of the tabletop suite: one line each here; see docs/perturbations.md."""

from envs.perturbations.appearance import CameraShift, ColourShift, LightShift, TextureChange
from envs.perturbations.mechanics import Dynamics, StartPose
from envs.perturbations.objects import Distractors, LayoutShift, ObjectSwap
from envs.perturbations.perturbation import Perturbation
from envs.perturbations.sensing import SensorNoise, VisualMatching
from envs.perturbations.words import InstructionChange
from vla.errors import choose

PERTURBATIONS: dict[str, type[Perturbation]] = {
    kind.axis: kind
    for kind in (
        CameraShift,
        LightShift,
        TextureChange,
        ColourShift,
        SensorNoise,
        VisualMatching,
        Distractors,
        LayoutShift,
        ObjectSwap,
        StartPose,
        Dynamics,
        InstructionChange,
    )
}


def load_perturbation(axis: str, level: int) -> Perturbation:
    """The axis of that name at `level`. Raises UnknownChoice, or ConfigError on a wrong level."""
    return choose("perturbation axis", axis, PERTURBATIONS)(level=level)
