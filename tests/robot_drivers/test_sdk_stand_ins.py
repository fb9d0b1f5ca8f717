"""Franka and Trossen against stand-in modules, ROS 2 against the real bridge core without ROS."""

import json
import socket
import sys
import threading
import time
import types
from types import SimpleNamespace

import numpy as np
import pytest

from robot_drivers.config_arms import FrankaConfig, Ros2Config, TrossenConfig
from robot_drivers.robot_world import Device
from robot_drivers.ros2_node import WATCHDOG, BridgeCore
from vla.errors import ArmSilent, ArmStopped, ConfigError, RobotError

HOST = "127.0.0.1"


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class FrankaArm:
    """What franky's Robot and Gripper do, at once."""

    def __init__(self):
        self.q = np.array([0, -0.6, 0, -2, 0, 1.6, 0.7])
        self.moves, self.has_errors, self.lost = [], False, False
        self.width, self.max_width = 0.08, 0.08


def fake_franky(arm):
    module = types.ModuleType("franky")

    class NetworkException(Exception):
        pass

    class ControlException(Exception):
        pass

    class Robot:
        has_errors = property(lambda self: arm.has_errors)

        def __init__(self, host):
            assert host == HOST
            self.relative_dynamics_factor = 1.0

        @property
        def state(self):
            if arm.lost:
                raise NetworkException("UDP receive: Timeout")
            return SimpleNamespace(
                q=arm.q.tolist(),
                O_T_EE=SimpleNamespace(translation=[0.4, 0.0, 0.3], quaternion=[1.0, 0, 0, 0]),
            )

        def move(self, motion, asynchronous=False):
            assert asynchronous
            assert self.relative_dynamics_factor == 0.2
            arm.moves.append(motion)
            if motion[0] == "joint":
                arm.q = np.array(motion[1])

        def recover_from_errors(self):
            arm.has_errors = False

    class Gripper:
        width, max_width = property(lambda self: arm.width), 0.08

        def __init__(self, host):
            pass

        def move_async(self, width, speed):
            arm.width = width

    module.NetworkException, module.ControlException = NetworkException, ControlException
    module.Robot, module.Gripper = Robot, Gripper
    module.JointMotion = lambda q: ("joint", q)
    module.CartesianMotion = lambda affine: ("tool", affine)
    module.Affine = lambda place, turn: (place, turn)
    module.JointStopMotion = lambda: ("stop",)
    module.CartesianStopMotion = lambda: ("stop",)
    return module


@pytest.fixture
def franka(monkeypatch):
    arm = FrankaArm()
    monkeypatch.setitem(sys.modules, "franky", fake_franky(arm))
    return arm


def test_franka_joints_gripper_and_stop(franka):
    robot = FrankaConfig(host=HOST, gripper=True, silence=1.0).build()
    assert isinstance(robot, Device)
    robot.connect()
    state, _ = robot.read()
    np.testing.assert_allclose(state[:7], franka.q, atol=1e-6)
    np.testing.assert_allclose(state[7:10], [0.4, 0, 0.3], atol=1e-6)
    assert franka.moves == []  # connecting moves nothing
    goal = np.append(franka.q, 0.5).astype(np.float32)
    goal[0] += 0.05
    np.testing.assert_allclose(robot.write(goal), goal, atol=1e-6)
    wait_for(lambda: abs(franka.q[0] - 0.05) < 1e-6 and abs(franka.width - 0.04) < 1e-6)
    robot.halt()
    assert franka.moves[-1] == ("stop",)
    robot.close()


def test_franka_tool_steps(franka):
    robot = FrankaConfig(host=HOST, commands="tool", silence=1.0).build()
    robot.connect()
    robot.write(np.array([0, 0, -0.01, 0, 0, 0], np.float32))
    wait_for(lambda: franka.moves and abs(franka.moves[-1][1][0][2] - 0.29) < 1e-6)
    np.testing.assert_allclose(np.abs(franka.moves[-1][1][1]), [1, 0, 0, 0], atol=1e-6)
    robot.close()


def test_franka_reflex_and_loss_are_typed(franka):
    robot = FrankaConfig(host=HOST, silence=1.0).build()
    robot.connect()
    franka.has_errors = True
    with pytest.raises(ArmStopped, match="recover"):
        wait_for(lambda: robot.read() is None)
    robot.recover()
    robot.connect()
    franka.lost = True
    with pytest.raises(ArmSilent, match="Timeout"):
        wait_for(lambda: robot.read() is None)
    robot.close()
    with pytest.raises(RobotError, match="Desk"):
        robot.release()


@pytest.fixture
def trossen(monkeypatch):
    arm = SimpleNamespace(q=np.zeros(7), goals=[], broken=False, cleared=[], modes=[])
    arm.q[:] = [0, 1.2, 1.0, 0.1, 0, 0, 0.02]

    class Driver:
        def configure(self, model, effector, host, clear_error, timeout):
            assert (model, effector, host) == ("model", "follower", HOST)
            arm.cleared.append(clear_error)

        def set_all_modes(self, mode):
            arm.modes.append(mode)

        def get_all_positions(self):
            if arm.broken:
                raise RuntimeError("16: robot input discontinuous")
            return arm.q.tolist()

        def get_cartesian_positions(self):
            return [0.3, 0.0, 0.2, 0.0, 0.0, 0.0]

        def set_arm_positions(self, positions, goal_time, blocking):
            assert not blocking
            assert goal_time > 0
            arm.q[:6] = positions

        def set_gripper_position(self, width, goal_time, blocking):
            arm.q[6] = width

    module = types.ModuleType("trossen_arm")
    module.TrossenArmDriver = Driver
    module.Model = SimpleNamespace(wxai_v0="model")
    module.StandardEndEffector = SimpleNamespace(wxai_v0_follower="follower")
    module.Mode = SimpleNamespace(position="position", idle="idle")
    monkeypatch.setitem(sys.modules, "trossen_arm", module)
    return arm


def test_trossen(trossen):
    robot = TrossenConfig(host=HOST, silence=1.0).build()
    robot.connect()
    state, _ = robot.read()
    assert state[-1] == pytest.approx(0.5)
    goal = np.append(trossen.q[:6] + 0.03, 1.0).astype(np.float32)
    robot.write(goal)
    wait_for(lambda: np.abs(trossen.q[:6] - goal[:6]).max() < 1e-6 and trossen.q[6] == 0.04)
    robot.halt()
    trossen.broken = True
    with pytest.raises(ArmStopped, match="discontinuous"):
        wait_for(lambda: robot.read() is None)
    trossen.broken = False
    robot.recover()
    assert trossen.cleared == [False, True]  # errors are cleared only on request
    robot.release()
    assert trossen.modes == ["position", "idle"]


class Bridge:
    """`BridgeCore` with an arm that goes where it is told, in a thread."""

    names = ("a", "b")

    def __init__(self):
        self.core, self.q, self.commands = BridgeCore(HOST, 0), [0.1, -0.2], []
        self.silent = self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            if not self.silent:
                self.core.tell(time.monotonic(), ["extra", *self.names], [9.0, *self.q])
                command = self.core.poll()
                if command is not None:
                    table = dict(zip(*command, strict=True))
                    self.q = [table.get(n, q) for n, q in zip(self.names, self.q, strict=True)]
                    self.commands.append(command)
            time.sleep(0.005)
        self.core.close()

    def close(self):
        self.over = True
        self.thread.join()


@pytest.fixture
def bridge():
    bridge = Bridge()
    yield bridge
    bridge.close()


def ros2(bridge, **options):
    options = {"joints": ["a", "b"], "low": [-2, -2], "high": [2, 2], "silence": 1.0} | options
    return Ros2Config(host=HOST, port=bridge.core.port, **options).build()


def test_ros2_follows_holds_and_tells_a_loss(bridge):
    robot = ros2(bridge, silence=0.4)
    robot.connect()
    state, _ = robot.read()
    np.testing.assert_allclose(state, [0.1, -0.2], atol=1e-6)
    robot.write(np.array([0.15, -0.2], np.float32))
    wait_for(lambda: abs(bridge.q[0] - 0.15) < 1e-6)
    robot.halt()
    wait_for(lambda: bridge.commands[-1][0] == ["extra", "a", "b"])  # the measured joints
    bridge.silent = True
    with pytest.raises(ArmSilent, match="nothing new"):
        wait_for(lambda: robot.read() is None)
    robot.close()


def test_ros2_words_of_the_arm_and_missing_joints(bridge):
    robot = ros2(bridge)
    robot.connect()
    bridge.core.fail("the pendant pressed stop")
    with pytest.raises(ArmStopped, match="pendant"):
        wait_for(lambda: robot.read() is None)
    robot.close()
    wait_for(lambda: bridge.core._client is None)
    with pytest.raises(RobotError, match="lacks"):
        ros2(bridge, joints=["a", "c"]).connect()


def test_bridge_core_watchdog_and_bad_commands():
    now = [0.0]
    core = BridgeCore(HOST, 0, clock=lambda: now[0])
    client = socket.create_connection((HOST, core.port))
    wait_for(lambda: core.poll() is None and core._client is not None)
    core.tell(1.0, ["a"], [0.5])
    client.sendall(json.dumps({"names": ["a"], "position": [0.6]}).encode() + b"\n")
    found = []
    wait_for(lambda: found.append(core.poll()) or found[-1] is not None)
    assert found[-1] == (["a"], [0.6])
    now[0] = WATCHDOG + 0.01
    assert core.poll() == (["a"], [0.5])
    assert core.poll() is None
    for bad in (b'{"names": ["a"], "position": [NaN]}\n', b"no json\n", b'{"names": []}\n'):
        core._moving = True
        client.sendall(bad)
        wait_for(lambda: found.append(core.poll()) or found[-1] is not None)
        assert found[-1] == (["a"], [0.5])
    client.close()
    core.close()


def test_configs_say_what_is_wrong():
    with pytest.raises(ConfigError, match="IP address"):
        FrankaConfig(host="robot").build()
    with pytest.raises(ConfigError, match="dynamics"):
        FrankaConfig(host=HOST, dynamics=2)
    with pytest.raises(ConfigError, match="joints only"):
        Ros2Config(host=HOST, commands="tool", pose=True)
    with pytest.raises(ConfigError, match="empty"):
        Ros2Config(host=HOST).build()
    with pytest.raises(ConfigError, match="equally long"):
        Ros2Config(host=HOST, joints=["a"])
    with pytest.raises(ConfigError, match="fewer"):
        TrossenConfig(host=HOST, servo_hz=10)
