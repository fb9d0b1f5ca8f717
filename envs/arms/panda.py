"""Franka Panda with a Robotiq 2F-85, from the model in the wheel of gym-hil (Apache-2.0).

Its meshes have 192,000 triangles, which cost a software renderer 13 ms a picture; here each is
reduced to 500 and kept in the user's cache folder. The links do not collide, only the gripper does,
as with the primitive arm, and its servos have the same gains.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import mujoco
import numpy as np

from envs.arms.arm import Arm
from envs.arms.meshes import decimate
from envs.arms.primitive import DAMPING, POSTURE, STIFFNESS, TORQUE, look
from envs.body import JOINT_LIMITS
from vla.errors import ConfigError, DataError
from vla.files import write_bytes

_FACES = 500
_SHUT = 0.8
"""Radians of the gripper's drivers when it is shut on nothing; 0 is open."""
_PINCH = 0.152
"""Metres from the gripper's base to the fingertip point; in the wheel 0.145."""
_FULL = 255.0
"""What the gripper's actuator is told to shut."""


def add_panda(spec: mujoco.MjSpec) -> None:
    """Add the arm to `spec`; names as in envs.arms.arm, other bodies as in the wheel."""
    spec.compiler.degree = False
    path = _find_model()
    arm = mujoco.MjSpec.from_file(str(path))
    _replace_meshes(arm, path)
    for sensor in list(arm.sensors):
        arm.delete(sensor)
    for actuator in list(arm.actuators):
        arm.delete(actuator)
    for camera in list(arm.cameras):
        arm.delete(camera)
    _simplify_geoms(arm)
    for body in arm.bodies[1:]:
        body.gravcomp = 1.0
    for index, limits in enumerate(JOINT_LIMITS):
        servo = arm.add_actuator(
            name=f"joint{index + 1}",
            target=f"joint{index + 1}",
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            ctrlrange=limits,
            forcerange=(-TORQUE[index], TORQUE[index]),
        )
        servo.set_to_position(kp=STIFFNESS[index], kv=DAMPING[index])
    grip = arm.add_actuator(
        name="fingers",
        target="split",
        trntype=mujoco.mjtTrn.mjTRN_TENDON,
        ctrlrange=(0.0, _FULL),
        forcerange=(-5.0, 5.0),
    )
    # As in the wheel: a spring to the angle that belongs to the control, and its damping.
    grip.gaintype = mujoco.mjtGain.mjGAIN_FIXED
    grip.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    grip.gainprm[0] = 100.0 * _SHUT / _FULL
    grip.biasprm[1:3] = -100.0, -10.0
    # The pads swing down by 13 mm while they close; this is their middle when half closed.
    arm.site("pinch").pos = (0.0, 0.0, _PINCH)
    hand = arm.body("base")
    hand.add_camera(
        name="wrist",
        pos=(0.075, 0, 0.045),
        quat=look((0.075, 0, 0.045), (0.010, 0, 0.185), up=(1, 0, 0)),
        fovy=66.0,
    )
    spec.attach(arm, frame=spec.worldbody.add_frame(), prefix="")


def _find_model() -> Path:
    """Where the wheel keeps its model; the package itself is not imported (it wants a joystick)."""
    try:
        return Path(str(distribution("gym-hil").locate_file("gym_hil/assets/panda.xml")))
    except PackageNotFoundError as error:
        raise ConfigError(
            "arm=panda needs the model in gym-hil; install the extra: "
            "pip install 'vla-stack[panda]'."
        ) from error


def _simplify_geoms(arm: mujoco.MjSpec) -> None:
    """Only the finger pads and one box for the palm collide, with the gripper's bits (scene.py)."""
    for geom in list(arm.geoms):
        if geom.type == mujoco.mjtGeom.mjGEOM_BOX:
            geom.contype, geom.conaffinity = 4, 2
            geom.friction = (1.6, 0.05, 0.002)
            geom.condim = 4
        elif geom.classname.name.endswith("collision"):
            arm.delete(geom)
        else:
            geom.contype = geom.conaffinity = 0
            geom.mass = 0.0
    mount = arm.body("base_mount")
    mount.explicitinertial = True
    mount.mass, mount.inertia = 0.05, (5e-5,) * 3
    arm.body("base").add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(0.030, 0.050, 0.030),
        pos=(0, 0, 0.060),
        mass=0.0,
        rgba=(0, 0, 0, 0),
        contype=4,
        conaffinity=2,
    )


def _replace_meshes(arm: mujoco.MjSpec, path: Path) -> None:
    """Give every mesh that is seen its reduced triangles instead of its file."""
    seen = {g.meshname for g in arm.geoms if not g.classname.name.endswith("collision")}
    meshes = _load_meshes(path)
    for mesh in list(arm.meshes):
        name = mesh.name or Path(mesh.file).stem
        if name not in seen:
            for geom in [g for g in arm.geoms if g.meshname == name]:
                arm.delete(geom)
            arm.delete(mesh)
            continue
        mesh.name, mesh.file = name, ""
        mesh.scale = (1.0, 1.0, 1.0)
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        mesh.uservert = meshes[f"{name}.vertices"].ravel()
        mesh.userface = meshes[f"{name}.faces"].ravel()


def _load_meshes(path: Path) -> dict[str, np.ndarray]:
    """`NAME.vertices` (n, 3) metres and `NAME.faces` (m, 3), from the cache or made and kept."""
    from platformdirs import user_cache_path
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save

    version = distribution("gym-hil").version
    file = user_cache_path("vla") / f"panda-{version}-{_FACES}.safetensors"
    if file.exists():
        try:
            return load_file(file)
        except SafetensorError as error:
            raise DataError(f"{file} is damaged ({error}); delete it.") from error
    model = mujoco.MjSpec.from_file(str(path)).compile()
    found: dict[str, np.ndarray] = {}
    for index in range(model.nmesh):
        mesh = model.mesh(index)
        first, count = mesh.vertadr[0], mesh.vertnum[0]
        # The compiler moves a mesh into its own inertial frame; here it goes back.
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.mesh_quat[index])
        vertices = (
            model.mesh_vert[first : first + count] @ turn.reshape(3, 3).T + model.mesh_pos[index]
        )
        first, count = mesh.faceadr[0], mesh.facenum[0]
        few = decimate(vertices, model.mesh_face[first : first + count], _FACES)
        found[f"{mesh.name}.vertices"], found[f"{mesh.name}.faces"] = few
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, save(found))
    return found


PANDA = Arm(
    add=add_panda,
    posture=POSTURE,
    fingers=("right_driver_joint", "left_driver_joint"),
    open_at=0.0,
    shut_at=_SHUT,
    open_control=0.0,
    shut_control=_FULL,
    touching=("base", "right_pad", "left_pad"),
)
