"""Tool steps through inverse kinematics, and the thread around slow devices; no hardware."""

import time
from importlib.resources import files

import numpy as np
import pytest

from robot_drivers.threaded_arm import ThreadedArm
from robot_drivers.tool_config import ToolConfig
from vla.embodiment import Axis, Embodiment
from vla.errors import ArmSilent, ConfigError, RobotError, ShapeError, UnknownChoice

RANGES = {
    "shoulder_pan": 1.92,
    "shoulder_lift": 1.75,
    "elbow_flex": 1.69,
    "wrist_flex": 1.66,
    "wrist_roll": 2.74,
}
AXES = (
    *(Axis(name=n, unit="rad", low=-w, high=w, frame="joint") for n, w in RANGES.items()),
    Axis(name="gripper", unit="1", low=0.0, high=1.0, frame="joint"),
)
BODY = Embodiment(name="so101", state=AXES, action=AXES, cameras={}, hz=30.0, gripper="open_is_one")


class Perfect:
    """An arm that is at once where it is told to be."""

    embodiment = BODY

    def __init__(self, delay=0.0):
        self.place = np.array([0.1, -0.4, 0.5, 0.3, 0.0, 1.0], np.float32)
        self.stuck, self.delay, self.closed, self.halts = False, delay, False, 0

    def connect(self):
        """Nothing to open."""

    def read(self):
        time.sleep(self.delay)
        return self.place.copy(), time.monotonic()

    def write(self, action):
        if not self.stuck:
            self.place = np.array(action, np.float32)
        return np.array(action, np.float32)

    def halt(self):
        self.halts += 1

    def close(self):
        self.closed = True


@pytest.fixture
def arm():
    tool = ToolConfig(model="so101", origin=[0.3, 0.0, 0.0]).wrap(Perfect())
    tool.connect()
    return tool


def step(**axes):
    names = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")
    return np.array([axes.get(name, 0.0) for name in names], np.float32)


def test_the_body_is_told_in_tool_axes(arm):
    assert [a.name for a in arm.embodiment.action] == [
        "dx", "dy", "dz", "drx", "dry", "drz", "gripper",
    ]  # fmt: skip
    assert [a.name for a in arm.embodiment.state][5:8] == ["x", "y", "z"]
    state, _ = arm.read()
    assert state.shape == (12,)
    assert 0.4 < state[5] < 0.75  # within reach, in the policy's frame


@pytest.mark.parametrize("axis", ["dx", "dy", "dz"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_positions_are_followed_and_told(arm, axis, sign):
    before, _ = arm.read()
    for _ in range(10):
        made = arm.write(step(**{axis: sign * 0.004}))
        np.testing.assert_allclose(made[:3], step(**{axis: sign * 0.004})[:3], atol=6e-4)
        arm.read()
    after, _ = arm.read()
    moved = (after - before)[5:8]
    wanted = step(**{axis: sign * 0.04})[:3]
    np.testing.assert_allclose(moved, wanted, atol=4e-3)


def test_two_turns_are_followed_and_the_third_is_dropped(arm):
    made = arm.write(step(dry=0.03))
    assert made[4] == pytest.approx(0.03, abs=0.01)
    arm.read()
    arm._robot.place[:] = [0, -0.4, 0.5, 0.3, 0, 1]
    arm.halt()
    arm.read()
    made = arm.write(step(drz=0.05))  # about the vertical the position would have to give way
    assert abs(made[5]) < 0.01
    assert np.abs(made[:3]).max() < 2e-3
    for _ in range(5):
        arm.read()
        made = arm.write(step())
    assert np.abs(made[:6]).max() < 1e-3  # what was dropped does not come back


def test_joints_stay_slow_and_inside(arm):
    last = arm._robot.place.copy()
    for _ in range(120):
        arm.write(step(dx=0.025, dz=0.02))
        now = arm._robot.place
        assert np.abs(now[:5] - last[:5]).max() <= 1.5 / 30 + 1e-5
        assert (np.abs(now[:5]) <= np.array(list(RANGES.values())) - 0.02).all()
        last = now.copy()
        arm.read()


def test_blocked_arms_and_bad_commands_are_refused(arm):
    with pytest.raises(ShapeError):
        arm.write(np.full(7, np.nan, np.float32))
    arm.write(step())
    arm._robot.stuck = True
    for _ in range(60):
        arm.read()
        if np.abs(arm._goal - arm._robot.place[:5]).max() > 0.5:
            break
        arm.write(step(dy=0.02))
    with pytest.raises(RobotError, match="behind"):
        arm.write(step(dy=0.02))
    with pytest.raises(UnknownChoice, match="site"):
        ToolConfig(model="so101", site="nose").wrap(Perfect())
    with pytest.raises(ConfigError, match="cannot be read"):
        ToolConfig(model=str(files("robot_drivers") / "gate.py")).wrap(Perfect())
    with pytest.raises(ConfigError, match="origin"):
        ToolConfig(origin=[0.0])


def test_a_thread_keeps_a_slow_device_from_the_loop():
    slow = Perfect(delay=0.05)
    arm = ThreadedArm(slow, silence=0.3)
    arm.connect()
    goal, _ = arm.read()
    begin = time.monotonic()
    for _ in range(50):
        arm.read()
        arm.write(goal + 0.01)
    assert time.monotonic() - begin < 0.05 * 50 / 3
    time.sleep(0.2)
    np.testing.assert_allclose(slow.place, goal + 0.01)
    arm.halt()
    assert slow.halts == 1
    slow.delay = 1.0
    time.sleep(0.5)
    with pytest.raises(ArmSilent, match="nothing new"):
        arm.read()
    arm.close()
    assert slow.closed
    with pytest.raises(RobotError, match="not connected"):
        arm.read()
