"""LeRobot's own classes on emulated hardware, and ours around them."""

import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robot_drivers.config_lerobot import (
    KochConfig,
    LerobotArmConfig,
    LerobotCameraConfig,
    So101Config,
)
from robot_drivers.config_teleop import LeaderConfig
from robot_drivers.emulators.servo_process import ServoEmulator
from robot_drivers.emulators.zmq_camera import ZmqCameraEmulator
from vla.errors import ArmStopped, ConfigError, RobotError, UnknownChoice
from vla.types import Observation

pytest.importorskip("scservo_sdk", reason="needs vla-stack[feetech]")
pytest.importorskip("dynamixel_sdk", reason="needs vla-stack[dynamixel]")
pytestmark = pytest.mark.slow
SLACK = {"io_timeout": 0.1}  # a busy test machine


@pytest.fixture(scope="module")
def emulators(tmp_path_factory):
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("feetech", "dynamixel", "leader")}
    found = {
        name: ServoEmulator("feetech" if name == "leader" else name, folder)
        for name, folder in folders.items()
    }
    yield found
    for emulator in found.values():
        emulator.close()


@pytest.fixture
def so101(emulators):
    emulator = emulators["feetech"]
    yield emulator
    emulator.fail()
    emulator.plug()
    emulator.power_cycle()
    emulator.calibrate()
    emulator.place(np.zeros(6))


def options(emulator, **more):
    return {"port": emulator.port, "id": "emulated",
            "calibration_dir": str(emulator.calibration.parent), **SLACK, **more}  # fmt: skip


def test_the_genuine_follower_calibrates_from_its_file_and_moves(so101, monkeypatch):
    from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

    so101.uncalibrate()
    folder = so101.calibration.parent
    arm = SO101Follower(SO101FollowerConfig(port=so101.port, id="emulated", calibration_dir=folder))
    arm.bus.connect()
    assert not arm.is_calibrated
    arm.bus.disconnect(disable_torque=False)
    monkeypatch.setattr("builtins.input", lambda _: "")  # Enter: take the file's calibration
    arm.connect()
    assert arm.is_calibrated
    goal = dict.fromkeys(arm.action_features, 0.0) | {"shoulder_pan.pos": 30.0, "gripper.pos": 50.0}
    arm.send_action(goal)

    def miss():
        told, true = arm.get_observation()["shoulder_pan.pos"], np.degrees(so101.positions()[0])
        return max(abs(told - 30), abs(true - 30))

    until = time.monotonic() + 5
    while miss() > 1.5 and time.monotonic() < until:  # it swings in
        time.sleep(0.02)
    assert np.degrees(so101.positions()[0]) == pytest.approx(30, abs=2)
    arm.disconnect()
    assert not any(so101.torque())  # LeRobot drops the arm on leaving; ours does not


def test_uncalibrated_foreign_and_busy_arms_are_refused(so101, tmp_path):
    with pytest.raises(ConfigError, match="calibrated range of joint 'shoulder_pan'"):
        So101Config(**options(so101) | {"calibration_dir": str(tmp_path)}).build()
    arm = So101Config(**options(so101)).build()
    so101.uncalibrate()
    with pytest.raises(RobotError, match="lerobot-calibrate"):
        arm.connect()
    assert not any(so101.torque())
    other = ServoEmulator("feetech", tmp_path)
    try:
        first, second = (So101Config(**options(other)).build() for _ in range(2))
        first.connect()
        with pytest.raises(RobotError, match="Another program"):
            second.connect()
        first.read()
        first.close()
    finally:
        other.close()
    with pytest.raises(RobotError, match="does not connect"):
        So101Config(**options(so101) | {"port": str(tmp_path / "none")}).build().connect()
    with pytest.raises(UnknownChoice, match="so101_follower"):
        LerobotArmConfig(**options(so101), type="so102_follower").build()
    with pytest.raises(ConfigError, match="colour"):
        So101Config(**options(so101), options={"colour": 1}).build()


@pytest.mark.parametrize("kind", ["feetech", "dynamixel"])
def test_late_answers_are_no_alarms(emulators, kind):
    """A slow adapter: each answer comes when something else is asked."""
    emulator = emulators[kind]
    config = {"feetech": So101Config, "dynamixel": KochConfig}[kind]
    arm = config(**options(emulator) | {"io_timeout": 0.01}).build()
    arm.connect()
    lost = 0
    try:
        for number in range(24):
            emulator.fail(delay=0.025 if number % 3 else 0.0)
            arm._looked = 0.0  # ask for alarms after every state
            try:
                arm.read()
            except ArmStopped:
                raise
            except RobotError:
                lost += 1
    finally:
        arm.close()
        emulator.fail()
    assert lost > 4


def test_waiting_for_an_answer_sleeps(so101):
    arm = So101Config(**options(so101)).build()
    arm.connect()
    so101.fail(mute=True)
    begin = time.process_time()
    for _ in range(3):
        with pytest.raises(RobotError):
            arm.read()
    assert time.process_time() - begin < 0.1  # of 0.3 s
    arm.close()


def test_a_held_arm_is_not_dropped_by_connecting(emulators):
    emulator = emulators["dynamixel"]
    arm = KochConfig(**options(emulator)).build()
    arm.connect()
    time.sleep(1.0)  # it settles under its weight
    arm.close()
    assert all(memory[98] == 0 for memory in emulator.memory())
    before = emulator.positions()
    arm.connect()
    assert all(memory[98] == 25 for memory in emulator.memory())  # 0.5 s in units of 20 ms
    assert np.abs(emulator.positions() - before).max() < 0.005
    arm.release()
    assert not any(emulator.torque())
    arm.close()


def test_a_silent_controller_leaves_the_arm_within_a_step(emulators):
    emulator = emulators["dynamixel"]
    arm = KochConfig(**options(emulator)).build()
    arm.connect()
    goal, _ = arm.read()
    begin = goal[0]
    for _ in range(20):
        goal[0] += 0.02
        arm.write(goal)
        arm.read()
        time.sleep(0.02)
    time.sleep(0.2)
    at = emulator.positions()[0]
    time.sleep(1.0)  # as if it had been killed
    assert at > begin + 0.2
    assert abs(emulator.positions()[0] - at) < 0.1
    assert all(emulator.torque())
    assert all(memory[98] == 0xFF for memory in emulator.memory())  # the watchdogs fired
    arm.read()
    arm.write(goal - 0.1)  # and are armed again by the next exchange
    assert all(memory[98] == 25 for memory in emulator.memory())
    arm.close()


def test_cameras_keep_colours_and_tell_their_age(so101):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    camera = LerobotCameraConfig(
        type="zmq", height=48, width=64,
        options={"server_address": "127.0.0.1", "port": port, "camera_name": "front"},
    )  # fmt: skip
    with ZmqCameraEmulator(port, size=(48, 64)) as sender:
        arm = So101Config(**options(so101), cameras={"front": camera}).build()
        assert arm.embodiment.cameras["front"].width == 64
        arm.connect()
        picture, when = arm.latest()["front"]
        assert picture.shape == (48, 64, 3)
        assert picture[40, 8].tolist() == pytest.approx([255, 0, 0], abs=12)
        assert picture[40, 56].tolist() == pytest.approx([0, 0, 255], abs=12)
        assert 0 <= time.monotonic() - when < 1.0
        sender.freeze()
        time.sleep(0.3)
        _, frozen = arm.latest()["front"]
        assert time.monotonic() - frozen > 0.15
        arm.close()
        arm.close()


def test_a_leader_arm_leads(emulators):
    leader, folder = emulators["leader"], emulators["leader"].calibration.parent
    body = So101Config(**options(emulators["feetech"])).build().embodiment
    config = LeaderConfig(
        port=leader.port, id="emulated", calibration_dir=str(folder), io_timeout=0.1, losses=2
    )
    person = config.build(body)
    person.connect()
    leader.place(np.array([0.4, -0.3, 0.2, 0, 0, 0.8]))
    for tick in range(60):
        seen = Observation(
            images={}, state=np.zeros((1, 6), np.float32), instruction="", time=tick / 30
        )
        (chunk,) = person.act([seen], seeds=[0])
    np.testing.assert_allclose(chunk.actions[0][:5], [0.4, -0.3, 0.2, 0, 0], atol=0.02)
    assert chunk.actions[0][5] == pytest.approx((0.8 + 0.18) / (1.75 + 0.18), abs=0.01)
    leader.fail(mute=True)
    person.act([seen], seeds=[0])  # one lost answer is no matter
    with pytest.raises(RobotError, match="silent"):
        person.act([seen], seeds=[0])
    person.close()
    person.close()


class Gamepad:
    """What LeRobot's gamepad says."""

    is_connected = True

    def get_action(self):
        return {"delta_x": 1.0, "delta_y": -0.5, "delta_z": 0.0, "gripper": 0}


def test_a_gamepad_steers_the_tool():
    from robot_drivers.lerobot_leader import Leader
    from tests.robot_drivers.fake_plant import point_body

    hand = Leader(LeaderConfig(type="gamepad", step=0.01), point_body(), Gamepad())
    np.testing.assert_allclose(hand.goal(np.array([0, 0, 0, 1.0])), [0.01, -0.005, 0, 0])


def test_our_robots_serve_lerobot_behind_the_gate(so101, monkeypatch, tmp_path):
    plugin = Path(__file__).parents[2] / "plugins" / "lerobot_robot_vla"
    monkeypatch.syspath_prepend(str(plugin))
    from lerobot.robots import RobotConfig
    from lerobot.robots.utils import make_robot_from_config

    if "lerobot_robot_vla" not in sys.modules:
        import lerobot_robot_vla  # noqa: F401  (what LeRobot does with a plug-in's name)
    schema = RobotConfig.get_choice_class("vla")
    robot = make_robot_from_config(
        schema(robot="so101", options=options(so101), id="x", calibration_dir=tmp_path)
    )
    robot.connect()
    seen = robot.get_observation()
    assert set(seen) == set(robot.action_features) == set(robot.observation_features)
    sent = robot.send_action({**seen, "shoulder_pan.pos": 0.02})
    assert sent["shoulder_pan.pos"] == pytest.approx(0.02, abs=1e-3)
    robot.get_observation()
    sent = robot.send_action({**seen, "shoulder_pan.pos": 1.5})
    assert sent["shoulder_pan.pos"] < 0.2  # the gate holds instead
    robot.disconnect()
    assert all(so101.torque())
