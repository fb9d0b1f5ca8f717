"""A 7-joint arm with Franka-class kinematics, drawn with capsules and boxes.

Kinematics: modified Denavit-Hartenberg parameters (Craig's convention) and joint limits of the
Franka Emika Panda as published in the Franka Control Interface documentation ("Robot and
interface specifications"). Masses are of the same class; the shapes are our own, and only the
gripper collides.
"""

import mujoco
import numpy as np

from envs.arms.arm import Arm
from envs.body import JOINT_LIMITS

DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
"""Per joint: a (m), d (m), alpha (rad); frame i is RotX(alpha) TransX(a) RotZ(q) TransZ(d)."""

FLANGE = 0.107
"""Metres from the last joint's frame to the flange, where the hand is bolted on at -45 degrees."""
FINGERTIP = 0.1034
"""Metres from the flange to the fingertip point ("pinch")."""
FINGER_TRAVEL = 0.04
"""Metres that each finger opens."""
POSTURE = (0.0, 0.0, 0.0, -2.2, 0.0, 2.2, np.pi / 4)
"""A natural posture over the table, radians: the seed and the bias of the inverse kinematics."""

_MASSES = (4.97, 0.65, 3.23, 3.59, 1.23, 1.67, 0.74)
STIFFNESS = (6000.0, 6000.0, 5000.0, 5000.0, 2500.0, 2500.0, 2000.0)
DAMPING = (220.0, 220.0, 160.0, 160.0, 60.0, 60.0, 45.0)
TORQUE = (87.0, 87.0, 87.0, 87.0, 30.0, 30.0, 30.0)

_WHITE = (0.90, 0.91, 0.92, 1.0)
_GREY = (0.36, 0.38, 0.42, 1.0)
_DARK = (0.16, 0.17, 0.19, 1.0)

# Per joint: (radius, from, to, colour) of the capsules fixed to its link, in its frame.
_SHAPES = (
    ((0.062, (0, 0, -0.19), (0, 0, -0.02), _WHITE), (0.066, (0, -0.055, 0), (0, 0.055, 0), _GREY)),
    ((0.060, (0, -0.06, 0), (0, -0.19, 0), _WHITE),),
    (
        (0.058, (0, 0, -0.11), (0, 0, -0.03), _WHITE),
        (0.050, (0, 0, -0.03), (0.0825, 0, 0), _WHITE),
        (0.057, (0.0825, -0.05, 0), (0.0825, 0.05, 0), _GREY),
    ),
    ((0.050, (-0.01, 0.02, 0), (-0.0825, 0.10, 0), _WHITE),),
    ((0.046, (0, 0, -0.27), (0, 0, -0.05), _WHITE), (0.042, (0, -0.03, 0), (0, 0.03, 0), _GREY)),
    (
        (0.034, (0.01, 0, 0), (0.088, 0, 0), _WHITE),
        (0.036, (0.088, 0, -0.02), (0.088, 0, 0), _GREY),
    ),
    ((0.030, (0, 0, 0.045), (0, 0, 0.085), _WHITE),),
)


def add_arm(spec: mujoco.MjSpec) -> None:
    """Add base, seven links, hand, fingers, wrist camera and actuators to `spec`'s world.

    Joints are named joint1..joint7, finger_left, finger_right, and actuators likewise; the
    fingertip frame is the site "pinch" (z along the fingers, y across them).
    """
    spec.compiler.degree = False
    world = spec.worldbody
    _box(world, (0.09, 0.09, 0.03), (0, 0, 0.03), _DARK)
    _capsule(world, 0.07, (0, 0, 0.04), (0, 0, 0.10), _WHITE, 0.0)
    body = world
    for index, (a, d, alpha) in enumerate(DH):
        body = body.add_body(
            name=f"link{index + 1}",
            pos=(a, -np.sin(alpha) * d, np.cos(alpha) * d),
            quat=(np.cos(alpha / 2), np.sin(alpha / 2), 0, 0),
            gravcomp=1.0,
        )
        body.add_joint(
            name=f"joint{index + 1}",
            axis=(0, 0, 1),
            range=JOINT_LIMITS[index],
            armature=0.1,
            damping=[1.0, 0, 0],
        )
        shapes = _SHAPES[index]
        for radius, start, end, colour in shapes:
            _capsule(body, radius, start, end, colour, _MASSES[index] / len(shapes))
        actuator = _actuator(spec, f"joint{index + 1}", JOINT_LIMITS[index], TORQUE[index])
        actuator.set_to_position(kp=STIFFNESS[index], kv=DAMPING[index])
    _add_hand(spec, body)


def _add_hand(spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> None:
    """The gripper: two fingers with an 8 cm opening, each its own position servo."""
    turn = -np.pi / 4
    hand = flange.add_body(
        name="hand",
        pos=(0, 0, FLANGE),
        quat=(np.cos(turn / 2), 0, 0, np.sin(turn / 2)),
        gravcomp=1.0,
    )
    _box(hand, (0.020, 0.058, 0.020), (0, 0, 0.036), _GREY, mass=0.6, collides=True)
    _capsule(hand, 0.024, (0, 0, -0.01), (0, 0, 0.02), _WHITE, 0.1)
    hand.add_site(name="pinch", pos=(0, 0, FINGERTIP), size=(0.004, 0, 0), rgba=(0, 0, 0, 0))
    for name, side in (("finger_left", 1.0), ("finger_right", -1.0)):
        finger = hand.add_body(name=name, pos=(0, 0, 0.0584), gravcomp=1.0)
        finger.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=(0, side, 0),
            range=(0.0, FINGER_TRAVEL),
            armature=0.2,
            damping=[4.0, 0, 0],
        )
        pad = _box(
            finger, (0.011, 0.006, 0.026), (0, side * 0.006, 0.028), _DARK, 0.05, collides=True
        )
        pad.friction = (1.6, 0.05, 0.002)
        pad.condim = 4
        actuator = _actuator(spec, name, (0.0, FINGER_TRAVEL), 30.0)
        actuator.set_to_position(kp=1200.0, kv=40.0)
    hand.add_camera(
        name="wrist",
        pos=(0.072, 0, 0.02),
        quat=look((0.072, 0, 0.02), (0.012, 0, 0.14), up=(1, 0, 0)),
        fovy=66.0,
    )


def look(eye: tuple, target: tuple, *, up: tuple) -> np.ndarray:
    """Quaternion (w, x, y, z) of a camera at `eye` that looks at `target` with `up` upwards."""
    back = np.subtract(eye, target).astype(float)
    back /= np.linalg.norm(back)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    quat = np.zeros(4)
    axes = np.column_stack([right, np.cross(back, right), back])
    mujoco.mju_mat2Quat(quat, axes.ravel())
    return quat


def _actuator(
    spec: mujoco.MjSpec, joint: str, limits: tuple[float, float], force: float
) -> mujoco.MjsActuator:
    return spec.add_actuator(
        name=joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        ctrlrange=limits,
        forcerange=(-force, force),
    )


def _capsule(
    body: mujoco.MjsBody, radius: float, start: tuple, end: tuple, colour: tuple, mass: float
) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        size=(radius, 0, 0),
        fromto=(*start, *end),
        rgba=colour,
        material="plastic",
        mass=mass,
        contype=0,
        conaffinity=0,
    )


def _box(
    body: mujoco.MjsBody,
    half: tuple,
    pos: tuple,
    colour: tuple,
    mass: float = 0.0,
    *,
    collides: bool = False,
) -> mujoco.MjsGeom:
    # Bit 4 is the gripper's: it meets objects (bit 2) and the table (see scene.py), not itself.
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=half,
        pos=pos,
        rgba=colour,
        material="plastic",
        mass=mass,
        contype=4 if collides else 0,
        conaffinity=2 if collides else 0,
    )


PRIMITIVE = Arm(
    add=add_arm,
    posture=POSTURE,
    fingers=("finger_left", "finger_right"),
    open_at=FINGER_TRAVEL,
    shut_at=0.0,
    open_control=FINGER_TRAVEL,
    shut_control=0.0,
    touching=("hand", "finger_left", "finger_right"),
)
