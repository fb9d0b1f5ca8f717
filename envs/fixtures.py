"""Things that stand on the table: bowls, plates, a drawer, buttons, a knob, blocks with a hole.

Each is one body `fixture{i}` made of primitives and compiled only into scenes that need it; a
layout moves and paints it. Geoms whose name ends in "paint" take the colour. Objects and the
gripper collide with fixtures; fixtures do not collide with each other.
"""

from collections.abc import Callable

import mujoco
import numpy as np

from vla.errors import choose

BOWL_INNER = 0.062
BOWL_WALL = 0.036
PLATE_RADIUS = 0.060
PLATE_TOP = 0.006
DRAWER_TRAVEL = 0.11
DRAWER_HANDLE = (0.075, 0.030)
"""Metres from the closed tray's centre to the handle, along x, and its height."""
TRAY_HALF = (0.040, 0.047)
"""Half the inside of the drawer's tray along x and y, metres."""
BUTTON_TOP = 0.034
BUTTON_TRAVEL = 0.010
KNOB_GRIP = 0.036
"""Height of the knob's bar, metres."""
HOLE_HALF = 0.0150
"""Inscribed radius of a hole, metres; a peg's radius is 2.5 mm less."""
HOLE_DEPTH = 0.030

FOOTPRINT: dict[str, tuple[tuple[float, float], ...]] = {
    "bowl": ((0.0, 0.074),),
    "plate": ((0.0, 0.062),),
    "drawer": ((0.0, 0.078), (0.09, 0.072), (0.17, 0.040)),
    "button": ((0.0, 0.040),),
    "knob": ((0.0, 0.042),),
    "round_hole": ((0.0, 0.052),),
    "square_hole": ((0.0, 0.056),),
}
"""Circles that cover a kind, as (offset along x, radius), metres; drawers as if open."""

_GREY = (0.45, 0.46, 0.48, 1.0)
_DARK = (0.20, 0.21, 0.23, 1.0)
_PALE = (0.86, 0.86, 0.84, 1.0)
LAMP_OFF = (0.15, 0.15, 0.15, 1.0)
LAMP_ON = (1.0, 0.95, 0.55, 1.0)

_BOX = mujoco.mjtGeom.mjGEOM_BOX
_DISC = mujoco.mjtGeom.mjGEOM_CYLINDER


def add_fixture(spec: mujoco.MjSpec, index: int, kind: str) -> None:
    """Add the body `fixture{index}`. Raises UnknownChoice on an unknown kind."""
    body = spec.worldbody.add_body(name=f"fixture{index}")
    choose("fixture", kind, _BUILDERS)(body)
    for geom in body.find_all("geom"):
        # Bits as the table's (see scene.py): objects and the gripper meet it, fixtures do not.
        geom.contype, geom.conaffinity = 0, 0 if geom.name.endswith("lamp") else 6
        geom.material = "plastic"


def _add(
    body: mujoco.MjsBody,
    kind: mujoco.mjtGeom,
    size: tuple,
    pos: tuple,
    rgba: tuple | None = None,
    *,
    part: str = "",
    quat: tuple = (1, 0, 0, 0),
) -> None:
    """A geom named after its part; without `rgba` it takes the fixture's colour."""
    part = part or ("fixed" if rgba else "paint")
    name = f"{body.name}_{len(body.geoms)}_{part}"
    body.add_geom(name=name, type=kind, size=size, pos=pos, quat=quat, rgba=rgba or _GREY)


def _add_ring(body: mujoco.MjsBody, *, inner: float, thick: float, height: float) -> None:
    """Eight walls around an octagon of inscribed radius `inner`."""
    outer = inner + 2 * thick
    for turn in np.arange(8) * np.pi / 4:
        away = inner + thick
        _add(
            body,
            _BOX,
            (thick, outer * np.tan(np.pi / 8), height / 2),
            (away * np.cos(turn), away * np.sin(turn), height / 2),
            quat=(np.cos(turn / 2), 0, 0, np.sin(turn / 2)),
        )


def _build_bowl(body: mujoco.MjsBody) -> None:
    _add_ring(body, inner=BOWL_INNER, thick=0.004, height=BOWL_WALL)
    _add(body, _DISC, (BOWL_INNER, 0.0015, 0), (0, 0, 0.0015), _PALE)


def _build_plate(body: mujoco.MjsBody) -> None:
    _add(body, _DISC, (PLATE_RADIUS, PLATE_TOP / 2 - 0.0005, 0), (0, 0, PLATE_TOP / 2 - 0.0005))
    _add(body, _DISC, (0.7 * PLATE_RADIUS, PLATE_TOP / 2, 0), (0, 0, PLATE_TOP / 2), _PALE)


def _build_drawer(body: mujoco.MjsBody) -> None:
    _add(body, _BOX, (0.050, 0.065, 0.004), (0, 0, 0.062))
    for side in (1.0, -1.0):
        _add(body, _BOX, (0.050, 0.004, 0.029), (0, side * 0.061, 0.029))
    _add(body, _BOX, (0.004, 0.057, 0.029), (-0.046, 0, 0.029))
    tray = body.add_body(name=f"{body.name}_moving", gravcomp=1.0)
    _add_joint(tray, (1, 0, 0), (0.0, DRAWER_TRAVEL), slide=True, damping=4.0, friction=1.0)
    x, y = TRAY_HALF
    _add(tray, _BOX, (x, y + 0.003, 0.002), (0, 0, 0.006), _PALE)
    _add(tray, _BOX, (0.003, y + 0.006, 0.022), (x + 0.003, 0, 0.026))
    _add(tray, _BOX, (0.003, y + 0.006, 0.016), (-x - 0.003, 0, 0.022), _PALE)
    for side in (1.0, -1.0):
        _add(tray, _BOX, (x, 0.003, 0.016), (0, side * (y + 0.003), 0.022), _PALE)
    reach, high = DRAWER_HANDLE
    _add(tray, _BOX, (0.014, 0.005, 0.005), (reach - 0.016, 0, 0.020), _DARK)
    _add(tray, _BOX, (0.006, 0.010, 0.022), (reach, 0, high), _DARK)


def _build_button(body: mujoco.MjsBody) -> None:
    _add(body, _DISC, (0.034, 0.007, 0), (0, 0, 0.007), _GREY)
    for side in (1.0, -1.0):
        lamp = (0.0055, 0, 0)
        where = (0.027, side * 0.010, 0.016)
        _add(body, mujoco.mjtGeom.mjGEOM_SPHERE, lamp, where, LAMP_OFF, part="lamp")
    plunger = body.add_body(name=f"{body.name}_moving", gravcomp=1.0)
    joint = _add_joint(plunger, (0, 0, -1), (0.0, BUTTON_TRAVEL), slide=True, damping=2.0)
    joint.stiffness = [120.0, 0, 0]
    _add(plunger, _DISC, (0.018, 0.010, 0), (0, 0, BUTTON_TOP - 0.010))


def _build_knob(body: mujoco.MjsBody) -> None:
    _add(body, _DISC, (0.036, 0.006, 0), (0, 0, 0.006), _GREY)
    dial = body.add_body(name=f"{body.name}_moving", gravcomp=1.0)
    _add_joint(dial, (0, 0, 1), (-1.5, 1.5), slide=False, damping=0.03, friction=0.02)
    _add(dial, _DISC, (0.031, 0.005, 0), (0, 0, 0.017))
    _add(dial, _BOX, (0.029, 0.009, 0.016), (0, 0, KNOB_GRIP))
    _add(dial, _BOX, (0.008, 0.004, 0.001), (0.018, 0, KNOB_GRIP + 0.0165), _PALE)


def _build_round_hole(body: mujoco.MjsBody) -> None:
    _add_ring(body, inner=HOLE_HALF, thick=0.016, height=HOLE_DEPTH)


def _build_square_hole(body: mujoco.MjsBody) -> None:
    thick = 0.016
    for side in (1.0, -1.0):
        away = side * (HOLE_HALF + thick)
        _add(body, _BOX, (thick, HOLE_HALF + 2 * thick, HOLE_DEPTH / 2), (away, 0, HOLE_DEPTH / 2))
        _add(body, _BOX, (HOLE_HALF, thick, HOLE_DEPTH / 2), (0, away, HOLE_DEPTH / 2))


def _add_joint(
    body: mujoco.MjsBody,
    axis: tuple,
    limits: tuple[float, float],
    *,
    slide: bool,
    damping: float,
    friction: float = 0.0,
) -> mujoco.MjsJoint:
    """A joint named like its body, with the stiction that keeps it where it is left."""
    kind = mujoco.mjtJoint.mjJNT_SLIDE if slide else mujoco.mjtJoint.mjJNT_HINGE
    return body.add_joint(
        name=body.name,
        type=kind,
        axis=axis,
        range=limits,
        damping=[damping, 0, 0],
        frictionloss=friction,
        armature=0.05 if slide else 0.0005,
    )


_BUILDERS: dict[str, Callable[[mujoco.MjsBody], None]] = {
    "bowl": _build_bowl,
    "plate": _build_plate,
    "drawer": _build_drawer,
    "button": _build_button,
    "knob": _build_knob,
    "round_hole": _build_round_hole,
    "square_hole": _build_square_hole,
}
