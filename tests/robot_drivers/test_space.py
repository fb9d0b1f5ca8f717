"""Boxes, keep-out zones and forward kinematics: in is refused, out is allowed."""

import numpy as np
import pytest

from robot_drivers.causes import Cause
from robot_drivers.config import GateConfig
from robot_drivers.kinematics import ModelPoints
from robot_drivers.space import Space
from tests.robot_drivers.test_gate import HOME, judge, move, tool_body
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, RobotError, UnknownChoice

ARM = """<mujoco><worldbody><body name="upper" pos="0 0 0.5">
<joint name="j0" type="hinge" axis="0 1 0"/>
<geom type="capsule" size="0.01" fromto="0 0 0 0.3 0 0"/><body name="lower" pos="0.3 0 0">
<joint name="j1" type="hinge" axis="0 1 0"/>
<geom type="capsule" size="0.01" fromto="0 0 0 0.2 0 0"/><site name="tip" pos="0.2 0 0"/>
</body></body></worldbody></mujoco>"""
AXES = (
    Axis(name="j0", unit="rad", low=-3, high=3, frame="joint"),
    Axis(name="j1", unit="rad", low=-3, high=3, frame="joint"),
    Axis(name="gripper", unit="1", low=0, high=1, frame="joint"),
)
BODY = Embodiment(name="planar", state=AXES, action=AXES, cameras={}, hz=100)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    return str(path)


def test_points_are_where_trigonometry_says(model):
    points = ModelPoints(model, ["j0", "j1", "gripper"], ["tip", "lower"])
    a, b = 0.4, -0.9
    tip, lower = points(np.array([a, b, 1.0]))
    np.testing.assert_allclose(lower, [0.3 * np.cos(a), 0, 0.5 - 0.3 * np.sin(a)], atol=1e-9)
    np.testing.assert_allclose(
        tip - lower, [0.2 * np.cos(a + b), 0, -0.2 * np.sin(a + b)], atol=1e-9
    )
    with pytest.raises(UnknownChoice, match="tip"):
        ModelPoints(model, ["j0"], ["tpi"])
    with pytest.raises(RobotError, match="none of the joints"):
        ModelPoints(model, ["k0"], ["tip"])
    with pytest.raises(RobotError, match="cannot be read"):
        ModelPoints(model + "x", ["j0"], ["tip"])


def test_joint_commands_keep_above_the_table(model):
    config = GateConfig(
        workspace_low=[-1, -1, 0.3], workspace_high=[1, 1, 2], model=model, model_points=["tip"]
    )
    gate = config.build(BODY)
    low = np.array([0.42, 0.0, 1], np.float32)  # the tip a hair above 0.3 m
    assert judge(gate, low + np.float32([0.001, 0, 0]), state=low).cause is Cause.WORKSPACE
    assert judge(gate, low - np.float32([0.001, 0, 0]), state=low).cause is Cause.NONE
    below = np.array([0.45, 0.0, 1], np.float32)
    assert any("tip" in line for line in gate.check_start(below))
    fresh = config.build(BODY)
    assert judge(fresh, below - np.float32([0.001, 0, 0]), state=below).cause is Cause.NONE


def test_keep_out_boxes_are_not_entered_but_may_be_left():
    box = [0.46, -0.1, 0.0, 0.6, 0.1, 0.4]
    gate = GateConfig(keep_out=[box], linear_acceleration=100.0).build(tool_body())
    assert judge(gate, move(x=0.012)).cause is Cause.WORKSPACE
    assert judge(gate, move(y=0.01)).cause is Cause.NONE
    inside = HOME.copy()
    inside[0] = 0.465
    assert judge(gate, move(x=0.01), state=inside).cause is Cause.WORKSPACE
    assert judge(gate, move(x=-0.01), state=inside).cause is Cause.NONE
    with pytest.raises(ConfigError, match="keep_out"):
        GateConfig(keep_out=[[0, 0, 0, 1, 1]])


def test_trespass_is_measured_in_metres():
    space = Space(GateConfig(workspace_low=[0, 0, 0], workspace_high=[1, 1, 1],
                             keep_out=[[0.4, 0.4, 0.4, 0.6, 0.6, 0.6]]))  # fmt: skip
    depth = space.trespass(np.array([[0.5, 0.5, 0.45], [1.2, 0.5, -0.1], [0.1, 0.1, 0.1]]))
    np.testing.assert_allclose(depth.max(axis=1), [0.05, 0.2, 0], atol=1e-12)
