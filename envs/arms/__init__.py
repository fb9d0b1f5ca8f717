"""Arms that a scene can be built with: one line each here."""

from envs.arms.arm import Arm
from envs.arms.panda import PANDA
from envs.arms.primitive import PRIMITIVE
from vla.errors import choose

__all__ = ["Arm", "load_arm"]

_ARMS = {"primitive": PRIMITIVE, "panda": PANDA}


def load_arm(name: str) -> Arm:
    """The arm of that name. Raises UnknownChoice; a missing package shows when it is added."""
    return choose("arm", name, _ARMS)
