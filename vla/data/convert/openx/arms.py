"""Other arms: Jaco's kin at DLR, xArm, Fanuc, Stretch, the Dobb-E stick, ALOHA.

Facts: field names and gripper conventions from OpenVLA `prismatic/vla/datasets/rlds/oxe/`
(configs.py, transforms.py) and OpenVLA-OFT (ALOHA); shapes from the data sets' pages in the
TFDS catalogue; rates from the Open-X overview sheet. That ucsd_kitchen is absolute is in its
description there, the units are judged from the means in OpenVLA's published statistics, quoted
from memory. Not checked on data.
"""

from vla.data.convert.openx.recipe import (
    EULER,
    OPENING,
    XYZ,
    Part,
    Recipe,
    flat_action,
    name_axes,
    name_joints,
    name_steps,
    take,
)
from vla.data.convert.openx.transforms import (
    invert_closed,
    keep_open,
    scale_to_metres,
    scale_to_radians,
)


def arms(field: str, width: int) -> tuple[Part, ...]:
    """Two ViperX arms: six joints and a gripper (0 closed, 1 open, a little over at times) each."""
    axes = tuple(
        axis
        for side in ("left_", "right_")
        for axis in (
            *name_joints(6, side),
            *name_axes(f"{side}gripper", "1", frame="joint"),
        )
    )
    return (take(field, width, axes),)


RECIPES = {
    "ucsd_kitchen_dataset_converted_externally_to_rlds": Recipe(
        robot="xarm7",
        hz=2,
        cameras={"image": "front"},
        state=(take("observation/state", 21, name_joints(7)),),
        action=(
            take("action", 8, XYZ, change=scale_to_metres),
            take("action", 8, EULER, 3, change=scale_to_radians),
            take("action", 8, OPENING, 6, change=keep_open),
        ),
        note="ABSOLUTE poses in mm and degrees, judged from OpenVLA's published statistics "
        "(mean x 410); OpenVLA uses them as deltas",
    ),
    "dlr_edan_shared_control_converted_externally_to_rlds": Recipe(
        robot="dlr_edan",
        hz=5,
        cameras={"image": "front"},
        state=(take("observation/state", 7, XYZ + EULER + name_axes("gripper_state", "1")),),
        action=flat_action(7, invert_closed),
    ),
    "berkeley_fanuc_manipulation": Recipe(
        robot="fanuc_mate_200id",
        hz=10,
        cameras={"image": "front", "wrist_image": "wrist"},
        state=(
            take("observation/state", 13, name_joints(6)),
            take("observation/state", 13, OPENING, 6, change=invert_closed),
        ),
        action=(
            take("action", 6, name_steps()),
            take("observation/state", 13, OPENING, 6, change=invert_closed),
        ),
        note="no gripper command stored: the reached state stands in for it; the raw release "
        "has red and blue swapped",
    ),
    "cmu_stretch": Recipe(
        robot="hello_stretch",
        hz=10,
        cameras={"image": "front"},
        state=(take("observation/state", 4, XYZ + name_axes("gripper_state", "1")),),
        action=flat_action(8, keep_open),
        note="sideways motion and rotation are zeros in the source",
    ),
    "dobbe": Recipe(
        robot="hello_stretch",
        hz=3.75,
        cameras={"wrist_image": "wrist"},
        state=(take("observation/state", 7, XYZ + EULER + name_axes("gripper_state", "1")),),
        action=flat_action(7, keep_open),
        note="recorded with a hand-held stick; OpenVLA calls its only camera primary",
    ),
    "aloha_static": Recipe(
        robot="aloha",
        hz=25,
        cameras={
            "image": "front",
            "left_wrist_image": "wrist_left",
            "right_wrist_image": "wrist_right",
        },
        state=arms("observation/state", 14),
        action=arms("action", 14),
        rotation="none",
        note="OpenVLA-OFT's layout, 50 Hz recordings thinned to 25 Hz; joint targets",
    ),
    "aloha_mobile": Recipe(
        robot="mobile_aloha",
        hz=50,
        cameras={
            "cam_high": "front",
            "cam_left_wrist": "wrist_left",
            "cam_right_wrist": "wrist_right",
        },
        state=arms("observation/state", 14),
        action=(
            *arms("action", 16),
            take("action", 16, name_axes("base_forward", "m/s", bound=2), 14),
            take("action", 16, name_axes("base_turn", "rad/s", bound=10), 15),
        ),
        rotation="none",
        note="joint targets, then the base's velocities",
    ),
}
