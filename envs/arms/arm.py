"""What the scene, its reader and the kinematics need to know of an arm."""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """Seven joints `joint1`..`joint7` with position servos and a gripper.

    Attributes:
        add: puts it into a scene: base at the origin, camera "wrist" on the hand, site "pinch" at
            the fingertips (z along the fingers, y across them), servos of the joints before those
            of the gripper.
        posture: radians (7,), over the table: seed and bias of the inverse kinematics.
        fingers: joints that tell the opening.
        open_at: their position when open.
        shut_at: their position when shut on nothing.
        open_control: what their actuators are told to open.
        shut_control: what they are told to shut.
        touching: bodies that touch objects: the hand, the left and the right finger.
    """

    add: Callable[[mujoco.MjSpec], None]
    posture: tuple[float, ...]
    fingers: tuple[str, ...]
    open_at: float
    shut_at: float
    open_control: float
    shut_control: float
    touching: tuple[str, str, str]
