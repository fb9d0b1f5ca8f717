"""The tabletop arm as data, policies and robots see it; needs neither MuJoCo nor a GL."""

import numpy as np

from vla.embodiment import Axis, Camera, Embodiment

GL_REMEDY = (
    "Install a software GL (Debian: apt-get install libegl1 libgl1-mesa-dri libgles2; for OSMesa "
    "libosmesa6) and set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python starts."
)

HZ = 20.0
MAX_MOVE = 0.025
"""Metres per tick and axis."""
MAX_TURN = 0.15
"""Radians per tick and axis."""

JOINT_LIMITS = (
    (-2.8973, 2.8973),
    (-1.7628, 1.7628),
    (-2.8973, 2.8973),
    (-3.0718, -0.0698),
    (-2.8973, 2.8973),
    (-0.0175, 3.7525),
    (-2.8973, 2.8973),
)
"""Radians, joint1 to joint7 (Franka Control Interface documentation)."""


def tabletop_embodiment(*, image_size: int, quality: str) -> Embodiment:
    """The axes, rate and cameras of the tabletop arm with square pictures of `image_size`."""
    move = {"unit": "m", "low": -MAX_MOVE, "high": MAX_MOVE, "mode": "delta"}
    turn = {"unit": "rad", "low": -MAX_TURN, "high": MAX_TURN, "mode": "delta"}
    grip = {"unit": "1", "low": 0.0, "high": 1.0, "frame": "joint"}
    action = (
        *(Axis(name=name, **move) for name in ("dx", "dy", "dz")),
        *(Axis(name=name, **turn) for name in ("drx", "dry", "drz")),
        Axis(name="gripper", **grip),
    )
    state = (
        *(
            Axis(name=f"joint{i + 1}", unit="rad", low=low, high=high, frame="joint")
            for i, (low, high) in enumerate(JOINT_LIMITS)
        ),
        *(Axis(name=name, unit="m", low=-1.0, high=1.0) for name in ("x", "y", "z")),
        *(Axis(name=name, unit="rad", low=-np.pi, high=np.pi) for name in ("rx", "ry", "rz")),
        Axis(name="gripper", **grip),
    )
    camera = {"height": image_size, "width": image_size, "source": f"mujoco:{quality}"}
    return Embodiment(
        name="tabletop_arm",
        state=state,
        action=action,
        cameras={"front": Camera(**camera), "wrist": Camera(**camera, mount="hand")},
        hz=HZ,
        rotation="rotvec",
        gripper="open_is_one",
    )
