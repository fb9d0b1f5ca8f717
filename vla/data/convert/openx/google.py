"""Data sets of the first RT-X mixture, mostly in Google's layout of observation and action.

Facts: field names and gripper conventions from OpenVLA `prismatic/vla/datasets/rlds/oxe/`
(configs.py, transforms.py); shapes from the data sets' features.json in the TFDS catalogue;
rates from the Open-X overview sheet. Where actions are called absolute, that is judged from the
means in OpenVLA's published statistics, quoted from memory. No file of these lies here: not
checked on data.
"""

from vla.data.convert.openx.recipe import (
    EULER,
    OPENING,
    QUATERNION,
    ROTVEC,
    WIDTH,
    XYZ,
    Recipe,
    fill,
    name_axes,
    name_joints,
    name_steps,
    split_action,
    take,
)
from vla.data.convert.openx.transforms import absolutize_closing, invert_closed, keep_open

WORDS = ("observation/natural_language_instruction",)
CLOSING = take("action/gripper_closedness_action", 1, OPENING, change=absolutize_closing)
CLOSED = take("action/gripper_closedness_action", 1, OPENING, change=invert_closed)
NORMALISED = name_steps("1", "1")
VELOCITIES = (
    *name_axes("dx dy dz", "m/s", mode="delta", bound=2.0),
    *name_axes("droll dpitch dyaw", "rad/s", mode="delta", bound=10.0),
)
UNKNOWN = name_axes("state1 state2 state3 state4 state5 state6 state7", "1", bound=10)

RECIPES = {
    "fractal20220817_data": Recipe(
        robot="google_robot",
        hz=3,
        cameras={"image": "front"},
        state=(
            take("observation/base_pose_tool_reached", 7, XYZ + QUATERNION),
            take("observation/gripper_closed", 1, OPENING, change=invert_closed),
        ),
        action=split_action(CLOSING),
        language=WORDS,
        note="RT-1; base motion and the end-of-episode flag are left out",
    ),
    "kuka": Recipe(
        robot="kuka_iiwa",
        hz=10,
        cameras={"image": "front"},
        state=(
            take("observation/clip_function_input/base_pose_tool_reached", 7, XYZ + QUATERNION),
            take("observation/gripper_closed", 1, OPENING, change=invert_closed),
        ),
        action=split_action(CLOSING),
        language=WORDS,
        note="QT-Opt; state stored zlib-compressed (features.json must say so); the words are "
        "always the same",
    ),
    "taco_play": Recipe(
        robot="franka_panda",
        hz=15,
        cameras={"rgb_static": "front", "rgb_gripper": "wrist"},
        # OpenVLA reads the gripper from number 7, which is the first joint; 6 is the width.
        state=(take("observation/robot_obs", 15, XYZ + EULER + WIDTH),),
        action=(
            take("action/rel_actions_world", 7, NORMALISED),
            take("action/rel_actions_world", 7, OPENING, 6, change=keep_open),
        ),
        language=WORDS,
        note="deltas normalised to +-1 (CALVIN's convention)",
    ),
    "jaco_play": Recipe(
        robot="jaco2",
        hz=10,
        cameras={"image": "front", "image_wrist": "wrist"},
        state=(
            take(
                "observation/end_effector_cartesian_pos",
                7,
                XYZ
                + name_axes("orientation1 orientation2 orientation3 orientation4", "1", bound=10),
            ),
        ),
        action=(
            take("action/world_vector", 3, name_steps()[:3]),
            fill(name_steps()[3:]),
            CLOSING,
        ),
        language=WORDS,
        note="no rotation commanded: zeros; OpenVLA reads the last state number as gripper",
    ),
    "berkeley_cable_routing": Recipe(
        robot="franka_panda",
        hz=10,
        cameras={"image": "front", "top_image": "top", "wrist45_image": "wrist"},
        state=(take("observation/robot_state", 7, UNKNOWN),),
        action=split_action(fill(OPENING), NORMALISED),
        language=WORDS,
        note="the gripper holds the cable: constant 0; velocities by the data set's page, which "
        "gives no unit and does not explain the state (OpenVLA: joints)",
    ),
    "roboturk": Recipe(
        robot="sawyer",
        hz=10,
        cameras={"front_rgb": "front"},
        state=(),
        action=split_action(CLOSED),
        language=WORDS,
        note="no robot state",
    ),
    "nyu_door_opening_surprising_effectiveness": Recipe(
        robot="hello_stretch",
        hz=3,
        cameras={"image": "wrist"},
        state=(),
        action=split_action(CLOSING, VELOCITIES),
        language=WORDS,
        note="velocities by the data set's own description; no robot state",
    ),
    "viola": Recipe(
        robot="franka_panda",
        hz=20,
        cameras={"agentview_rgb": "front", "eye_in_hand_rgb": "wrist"},
        state=(
            take("observation/joint_states", 7, name_joints(7)),
            take("observation/gripper_states", 1, WIDTH),
        ),
        action=split_action(
            take("action/gripper_closedness_action", 0, OPENING, change=invert_closed),
            name_steps("1", "1", rotvec=True),
        ),
        rotation="rotvec",
        language=WORDS,
        note="deltas normalised to +-1 (operational-space controller)",
    ),
    "berkeley_autolab_ur5": Recipe(
        robot="ur5",
        hz=5,
        cameras={"image": "front", "hand_image": "wrist"},
        state=(
            take("observation/robot_state", 15, XYZ + QUATERNION, 6),
            take("observation/robot_state", 15, OPENING, 13, change=invert_closed),
        ),
        action=split_action(
            take("action/gripper_closedness_action", 0, OPENING, change=absolutize_closing)
        ),
        language=WORDS,
        note="the raw release has red and blue swapped in the wrist camera",
    ),
    "toto": Recipe(
        robot="franka_panda",
        hz=30,
        cameras={"image": "front"},
        state=(take("observation/state", 7, name_joints(7)),),
        action=split_action(take("action/open_gripper", 0, OPENING, change=keep_open), XYZ + EULER),
        language=WORDS,
        note="ABSOLUTE poses, judged from OpenVLA's published statistics (mean x 0.39 m); "
        "OpenVLA uses them as deltas",
    ),
    "language_table": Recipe(
        robot="xarm6",
        hz=10,
        cameras={"rgb": "front"},
        state=(take("observation/effector_translation", 2, XYZ[:2]),),
        action=(
            take("action", 2, name_steps()[:2]),
            fill(name_steps()[2:]),
            fill(OPENING, 1.0),
        ),
        language=("observation/instruction",),
        note="moves in a plane: height and rotation zeros, gripper constant 1; words are code "
        "points",
    ),
    "bc_z": Recipe(
        robot="everyday_robot",
        hz=10,
        cameras={"image": "front"},
        state=(
            take("observation/present/xyz", 3, XYZ),
            take("observation/present/axis_angle", 3, ROTVEC),
            take("observation/present/sensed_close", 1, OPENING, change=invert_closed),
        ),
        action=(
            take("action/future/xyz_residual", 30, name_steps()[:3]),
            take("action/future/axis_angle_residual", 30, name_steps(rotvec=True)[3:]),
            take("action/future/target_close", 10, OPENING, change=invert_closed),
        ),
        rotation="rotvec",
        language=WORDS,
        note="use version 0.1.0, later ones are broken (OpenVLA); the first of ten waypoints",
    ),
}
