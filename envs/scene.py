"""The tabletop model: table, side strips, pads, objects, fixtures, lights and fixed cameras.

It is compiled once per world. Each object body carries all of the scenery's shapes; a reset shows
and collides one of them, so that a new layout needs no new model.
"""

import mujoco
import numpy as np

from envs.arms import Arm, load_arm
from envs.arms.primitive import look
from envs.fixtures import LAMP_OFF, LAMP_ON, add_fixture
from envs.layout import (
    BRICK_HALF_LENGTH,
    FAR_EDGE,
    HALF_HEIGHT,
    HALF_WIDTH,
    PAD_HALF,
    SHAPES,
    STRIP_EDGE,
    Fixture,
    Layout,
    Scenery,
    Thing,
)
from vla.errors import choose

TIMESTEP = 0.0025
"""Physics step, seconds."""

PAINT = {
    "red": (0.86, 0.10, 0.10, 1.0),
    "green": (0.10, 0.62, 0.18, 1.0),
    "blue": (0.10, 0.25, 0.85, 1.0),
    "yellow": (0.98, 0.82, 0.05, 1.0),
}
UNSEEN_PAINT = {"purple": (0.48, 0.12, 0.66, 1.0), "orange": (0.96, 0.46, 0.04, 1.0)}
PAD_PAINT = {
    "red": (0.93, 0.52, 0.50, 1.0),
    "green": (0.52, 0.80, 0.55, 1.0),
    "blue": (0.52, 0.62, 0.93, 1.0),
    "yellow": (0.97, 0.90, 0.52, 1.0),
    "purple": (0.74, 0.56, 0.86, 1.0),
    "orange": (0.98, 0.74, 0.48, 1.0),
}
"""Pads are paler than objects, so that an object on a pad of its own colour stays visible."""

_QUALITY = {"fast": (0, 0), "full": (2048, 8)}
"""Shadow map size and samples per pixel; "fast" draws no shadows and no reflections."""

_MASS = 0.08
_INERTIA = 2.8e-5


def build_scene(
    quality: str, scenery: Scenery | None = None, arm: Arm | None = None
) -> mujoco.MjSpec:
    """The scene, to be compiled; by default the classic tasks' with the primitive arm.

    Raises UnknownChoice on an unknown quality.
    """
    scenery = scenery or Scenery()
    shadow, samples = choose("quality", quality, _QUALITY)
    spec = mujoco.MjSpec()
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5.0
    spec.visual.quality.shadowsize = shadow
    spec.visual.quality.offsamples = samples
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 1024
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 6.0
    spec.stat.extent = 1.0
    spec.stat.center = (0.45, 0.0, 0.1)
    _add_surroundings(spec)
    _add_destinations(spec, scenery)
    for slot in range(scenery.slots):
        add_object(spec, slot, scenery.shapes)
    for index, kind in enumerate(scenery.fixtures):
        add_fixture(spec, index, kind)
    (arm or load_arm("primitive")).add(spec)
    return spec


def arrange(model: mujoco.MjModel, data: mujoco.MjData, layout: Layout) -> None:
    """Show, colour and place the objects and pads of `layout`; velocities become zero."""
    for slot, thing in enumerate(layout.things):
        place_object(model, data, slot, thing)
    for index, pad in enumerate(layout.pads):
        geom = model.geom(f"pad{index}").id
        model.geom_rgba[geom] = PAD_PAINT[pad.colour]
        model.geom_pos[geom, :2] = pad.x, pad.y
    for index, fixture in enumerate(layout.fixtures):
        _place_fixture(model, data, index, fixture)


def object_geoms(model: mujoco.MjModel, slot: int) -> dict[str, int]:
    """Geom numbers of the body of `slot` by shape."""
    first = model.body(f"object{slot}").geomadr[0]
    count = model.body(f"object{slot}").geomnum[0]
    return {model.geom(i).name.split("_")[1]: i for i in range(first, first + count)}


def place_object(model: mujoco.MjModel, data: mujoco.MjData, slot: int, thing: Thing) -> None:
    """Show, size, colour and place `thing` as the body of `slot`; its velocity becomes zero."""
    geoms = object_geoms(model, slot)
    for shape, geom in geoms.items():
        chosen = shape == thing.shape
        model.geom_rgba[geom] = (PAINT | UNSEEN_PAINT)[thing.colour] if chosen else (0, 0, 0, 0)
        model.geom_contype[geom] = 2 if chosen else 0
        model.geom_conaffinity[geom] = 6 if chosen else 0
    geom = geoms[thing.shape]
    wide, high = thing.half_width, thing.half_height
    size = {"ball": (wide, 0, 0), "cube": (wide, wide, high)}.get(thing.shape, (wide, high, 0))
    box = (wide, wide, high)
    if thing.shape == "brick":
        size = box = (BRICK_HALF_LENGTH, wide, high)
    model.geom_size[geom] = size
    # What the compiler derives from the size, for the search for contacts.
    model.geom_aabb[geom, 3:] = box
    model.geom_rbound[geom] = wide if thing.shape == "ball" else np.linalg.norm(size)
    _grow_bounds(model, slot, geom, box)
    joint = data.joint(f"object{slot}")
    half = thing.yaw / 2
    joint.qpos = (*(thing.x, thing.y, high), *(np.cos(half), 0.0, 0.0, np.sin(half)))
    joint.qvel = 0.0


def _grow_bounds(model: mujoco.MjModel, slot: int, geom: int, box: tuple) -> None:
    """Tell the body's tree of bounding boxes, or what sticks out of them would not collide."""
    body = model.body(f"object{slot}").id
    first = model.body_bvhadr[body]
    for node in range(first, first + model.body_bvhnum[body]):
        owner = model.bvh_nodeid[node]
        if owner == geom:
            model.bvh_aabb[node, 3:] = box
        elif owner < 0:
            model.bvh_aabb[node, 3:] = np.maximum(model.bvh_aabb[node, 3:], box)


def light_lamps(model: mujoco.MjModel, index: int, count: int) -> None:
    """Light the first `count` of the lamps beside the button that is fixture `index`."""
    for number, geom in enumerate(fixture_geoms(model, index, "lamp")):
        model.geom_rgba[geom] = LAMP_ON if number < count else LAMP_OFF


def _place_fixture(
    model: mujoco.MjModel, data: mujoco.MjData, index: int, fixture: Fixture
) -> None:
    model.body(f"fixture{index}").pos[:2] = fixture.x, fixture.y
    for geom in fixture_geoms(model, index, "paint"):
        model.geom_rgba[geom] = PAD_PAINT[fixture.colour]
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, f"fixture{index}_moving")
    if joint >= 0:
        data.qpos[model.jnt_qposadr[joint]] = fixture.value
    light_lamps(model, index, 0)


def fixture_geoms(model: mujoco.MjModel, index: int, part: str) -> list[int]:
    """Geom numbers of fixture `index` that are of `part`: "paint", "fixed" or "lamp"."""
    names = [(i, model.geom(i).name) for i in range(model.ngeom)]
    return [i for i, name in names if name.startswith(f"fixture{index}_") and name.endswith(part)]


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.80, 0.84, 0.88),
        rgb2=(0.55, 0.60, 0.66),
        width=64,
        height=64,
    )
    spec.add_material(name="plastic", specular=0.35, shininess=0.5)
    spec.add_material(name="matt", specular=0.05, shininess=0.1)
    spec.visual.headlight.ambient = (0.45, 0.45, 0.45)
    spec.visual.headlight.diffuse = (0.25, 0.25, 0.25)
    spec.visual.headlight.specular = (0.1, 0.1, 0.1)
    world = spec.worldbody
    world.add_light(
        pos=(0.9, 0.5, 1.6),
        dir=(-0.28, -0.35, -1.0),
        diffuse=(0.47, 0.47, 0.46),
        specular=(0.25, 0.25, 0.25),
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        castshadow=True,
    )
    table = world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(0.475, 0.42, 0.02),
        pos=(0.325, 0, -0.02),
        rgba=(0.72, 0.70, 0.67, 1.0),
        material="matt",
        contype=0,
        conaffinity=6,
    )
    table.friction = (0.5, 0.01, 0.002)
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=(4, 4, 0.1),
        pos=(0, 0, -0.6),
        rgba=(0.42, 0.45, 0.49, 1.0),
        material="matt",
        contype=0,
        conaffinity=0,
    )
    eye, centre = (1.12, 0.0, 0.62), (0.515, 0.0, 0.03)
    world.add_camera(name="front", pos=eye, quat=look(eye, centre, up=(0, 0, 1)), fovy=33.0)
    eye = (0.50, 0.78, 0.52)
    world.add_camera(name="side", pos=eye, quat=look(eye, (0.48, 0, 0.03), up=(0, 0, 1)), fovy=38.0)


def _add_destinations(spec: mujoco.MjSpec, scenery: Scenery) -> None:
    """Side strips and pads: paint on the table that nothing collides with."""
    near, far = STRIP_EDGE - 0.0225, STRIP_EDGE + 0.055
    half, away = (0.16, (far - near) / 2), (near + far) / 2
    places = {
        "left": (half, (0.5, away, 0.0)),
        "right": (half, (0.5, -away, 0.0)),
        "far": ((0.04, STRIP_EDGE - 0.03), (FAR_EDGE - 0.0225 + 0.04, 0.0, 0.0)),
    }
    for strip in scenery.strips:
        _paint(spec, f"strip_{strip}", *places[strip])
        spec.geom(f"strip_{strip}").rgba = (0.52, 0.50, 0.47, 1.0)
    for index in range(scenery.pads):
        _paint(spec, f"pad{index}", (PAD_HALF, PAD_HALF), (0.5, 0.0, 0.0004))


def _paint(spec: mujoco.MjSpec, name: str, half: tuple, pos: tuple) -> None:
    spec.worldbody.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(*half, 0.0005),
        pos=pos,
        material="matt",
        contype=0,
        conaffinity=0,
    )


def add_object(spec: mujoco.MjSpec, slot: int, shapes: tuple[str, ...] = SHAPES) -> None:
    """One free body that can be any of `shapes`; mass and inertia are the same for all."""
    body = spec.worldbody.add_body(name=f"object{slot}", pos=(0.5, 0, 0.1))
    body.add_joint(
        name=f"object{slot}",
        type=mujoco.mjtJoint.mjJNT_FREE,
        damping=[2e-4, 0, 0],
    )
    body.explicitinertial = True
    body.ipos, body.iquat = (0, 0, 0), (1, 0, 0, 0)
    body.mass = _MASS
    body.inertia = (_INERTIA,) * 3
    kinds = {
        "cube": (mujoco.mjtGeom.mjGEOM_BOX, (HALF_WIDTH["cube"],) * 3),
        "ball": (mujoco.mjtGeom.mjGEOM_SPHERE, (HALF_WIDTH["ball"], 0, 0)),
        "brick": (mujoco.mjtGeom.mjGEOM_BOX, (0.03, HALF_WIDTH["brick"], HALF_HEIGHT["brick"])),
    }
    for shape in shapes:
        upright = (mujoco.mjtGeom.mjGEOM_CYLINDER, (HALF_WIDTH[shape], HALF_HEIGHT[shape], 0))
        kind, size = kinds.get(shape, upright)
        geom = body.add_geom(
            name=f"object{slot}_{shape}", type=kind, size=size, material="plastic", mass=0.0
        )
        # Rolling friction (third number, metres) lets a ball that is let go or pushed come to rest.
        geom.friction = (0.5, 0.01, 0.004)
        geom.condim = 6 if shape == "ball" else 4
        geom.contype, geom.conaffinity = 2, 6
