"""Arms that a scene can be built with: one line each here."""

from envs.arms.arm import Arm
from envs.arms.primitive import PRIMITIVE
from vla.errors import choose

__all__ = ["Arm", "load_arm"]


def load_arm(name: str) -> Arm:
    """The arm of that name. Raises UnknownChoice, or ConfigError when its package is missing."""
    return choose("arm", name, {"primitive": lambda: PRIMITIVE})()
