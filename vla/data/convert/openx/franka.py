"""Franka data sets that their authors converted, FMB and DROID.

Facts: field names and gripper conventions from OpenVLA `prismatic/vla/datasets/rlds/oxe/`
(configs.py, transforms.py); shapes from the data sets' pages in the TFDS catalogue; rates from
the Open-X overview sheet. Where actions are called absolute, that is judged from the means in
OpenVLA's published statistics, quoted from memory. No file of these lies here: not checked on
data.
"""

from vla.data.convert.openx.recipe import (
    EULER,
    OPENING,
    QUATERNION,
    WIDTH,
    XYZ,
    Part,
    Recipe,
    flat_action,
    name_axes,
    name_joints,
    name_steps,
    take,
)
from vla.data.convert.openx.transforms import convert_quaternion, invert_closed, keep_open

CONTROLLER = name_steps("1", "1", rotvec=True)
"""Deltas of robosuite's and deoxys' operational-space controllers, normalised to +-1."""
BOTH = {"image": "front", "wrist_image": "wrist"}
SWAPPED = "the raw release has red and blue swapped; convert the repaired copy (rlds_dataset_mod)"


def austin(state: tuple[Part, ...], note: str = "") -> Recipe:
    """The laboratory at Austin has one robot, one controller and one layout."""
    return Recipe(
        robot="franka_panda",
        hz=20,
        cameras=BOTH,
        state=state,
        action=flat_action(7, invert_closed, CONTROLLER),
        rotation="rotvec",
        note="; ".join(filter(None, ("deltas normalised to +-1", note))),
    )


def joint_state(width: int) -> tuple[Part, ...]:
    """Seven joints, then the fingers' distance."""
    return (take("observation/state", width, name_joints(7) + WIDTH),)


POSE_STATE = (take("observation/state", 8, XYZ + QUATERNION + WIDTH),)

RECIPES = {
    "austin_buds_dataset_converted_externally_to_rlds": austin(joint_state(24)),
    "austin_sailor_dataset_converted_externally_to_rlds": austin(POSE_STATE),
    "austin_sirius_dataset_converted_externally_to_rlds": austin(POSE_STATE),
    "utaustin_mutex": austin(joint_state(24), SWAPPED),
    "stanford_hydra_dataset_converted_externally_to_rlds": Recipe(
        robot="franka_panda",
        hz=10,
        cameras=BOTH,
        state=(
            take("observation/state", 27, XYZ),
            take("observation/state", 27, EULER, 7),
            take("observation/state", 27, WIDTH, 24),
        ),
        action=flat_action(7, invert_closed),
        note=SWAPPED,
    ),
    "nyu_franka_play_dataset_converted_externally_to_rlds": Recipe(
        robot="franka_panda",
        hz=3,
        cameras={"image": "front", "image_additional_view": "side"},
        state=(take("observation/state", 13, name_joints(7) + XYZ + EULER),),
        action=flat_action(15, keep_open, start=7),
        note="joint velocities and the end-of-episode flag are left out",
    ),
    "furniture_bench_dataset_converted_externally_to_rlds": Recipe(
        robot="franka_panda",
        hz=10,
        cameras=BOTH,
        state=(
            take("observation/state", 35, XYZ + QUATERNION),
            take("observation/state", 35, WIDTH, 34),
        ),
        action=(
            take("action", 8, name_steps()[:3]),
            take("action", 8, name_steps()[3:], 3, count=4, change=convert_quaternion),
            take("action", 8, OPENING, 7, change=invert_closed),
        ),
        note="turns stored as quaternions xyzw",
    ),
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds": Recipe(
        robot="franka_panda",
        hz=20,
        cameras=BOTH,
        state=(take("observation/state", 20, name_joints(7) + OPENING),),
        action=(
            take("action", 8, XYZ),
            take("action", 8, EULER, 3, count=4, change=convert_quaternion),
            take("action", 8, OPENING, 7, change=keep_open),
        ),
        note="ABSOLUTE poses, judged from OpenVLA's published statistics (mean x 0.53 m); "
        "OpenVLA uses them as deltas",
    ),
    "fmb_dataset": Recipe(
        robot="franka_panda",
        hz=10,
        cameras={"image_side_1": "front", "image_side_2": "side", "image_wrist_1": "wrist"},
        state=(
            take("observation/eef_pose", 7, XYZ + QUATERNION),
            take("observation/state_gripper_pose", 0, name_axes("gripper_state", "1")),
        ),
        action=flat_action(7, keep_open, name_steps("1", "1")),
        note="deltas normalised to +-1",
    ),
    "droid": Recipe(
        robot="franka_panda_robotiq",
        hz=15,
        cameras={
            "exterior_image_1_left": "front",
            "exterior_image_2_left": "side",
            "wrist_image_left": "wrist",
        },
        state=(
            take("observation/cartesian_position", 6, XYZ + EULER),
            take("observation/gripper_position", 1, OPENING, change=invert_closed),
        ),
        action=(
            take("action_dict/cartesian_velocity", 6, name_steps("1", "1")),
            take("action_dict/gripper_position", 1, OPENING, change=invert_closed),
        ),
        language=("language_instruction", "language_instruction_2", "language_instruction_3"),
        note="velocity commands normalised to +-1; about half of all frames are idle, see "
        "source.drop_idle; OpenVLA swaps the two outer cameras at random",
    ),
}

LIBERO = Recipe(
    robot="libero_panda",
    hz=20,
    cameras=BOTH,
    state=(
        take(
            "observation/state",
            8,
            XYZ + name_axes("rx ry rz", "rad") + name_axes("finger_left finger_right", "m"),
        ),
    ),
    # -1 opens and +1 closes in the simulator.
    action=flat_action(7, invert_closed, CONTROLLER),
    rotation="rotvec",
    turned=True,
    note="deltas normalised: 1 is 0.05 m or 0.5 rad (OSC_POSE); pictures turned by 180 degrees "
    "against the simulator's; idle steps removed by OpenVLA; to act, send 1 - 2 * gripper",
)
RECIPES |= {f"libero_{suite}_no_noops": LIBERO for suite in ("spatial", "object", "goal", "10")}
