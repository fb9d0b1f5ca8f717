"""BridgeData V2 (arXiv:2308.12952) in RLDS form, under declared axes, in two tellings.

COMMANDED keeps the actions bit for bit as in the source: commanded end-effector steps. The
first action of an episode is about 0 by the data's construction and is kept.

RELABELLED is what OpenVLA trains on: steps between reached poses, a binary gripper. Reached
steps are about a fifth smaller than commanded ones (the controller lags); the two kinds must
not be mixed under one statistic.
"""

from dataclasses import replace

from vla.data.convert.openx.recipe import TURN, Recipe, name_axes, take
from vla.data.convert.openx.transforms import binarize_open, relabel_reached
from vla.embodiment import Axis

STATE = (
    *name_axes("x y z", "m", bound=1.0),
    *name_axes("roll pitch yaw", "rad", bound=TURN),
    Axis(name="gripper", unit="1", low=0.0, high=1.1),
)
"""Pose of the tool in the base frame and opening of the fingers, which reads up to about 1.01.

Angles are bounded by a full turn: the source does not wrap, a few steps jump by as much.
"""

STEPS = (
    *name_axes("dx dy dz", "m", mode="delta", bound=0.5),
    *name_axes("droll dpitch dyaw", "rad", mode="delta", bound=TURN),
)
"""Step of that pose. The bounds are wide on purpose, so that every step of the full data set
lies inside (translations reach about 0.4 m in its outliers); they are no limits to drive an
arm with."""

GRIPPER = (Axis(name="gripper", unit="1", low=0.0, high=1.0),)
"""The opening to reach: 1 open, 0 closed."""

COMMANDED = Recipe(
    robot="widowx_250",
    hz=5.0,
    cameras={"image_0": "front", "image_1": "side_1", "image_2": "side_2", "image_3": "wrist"},
    state=(take("observation/state", 7, STATE),),
    action=(take("action", 7, STEPS + GRIPPER),),
    words_change=False,
    checked=True,
)

RELABELLED = replace(
    COMMANDED,
    # Many episodes of the full data lack all but image_0 and hold black pictures instead.
    cameras={"image_0": "front"},
    action=(take("action", 7, STEPS), take("action", 7, GRIPPER, 6, change=binarize_open)),
    edit=relabel_reached,
    note="first and last step dropped, steps between reached poses; commanded actions bit for "
    "bit: `source=bridge`; other cameras exist, many hold black pictures",
)
