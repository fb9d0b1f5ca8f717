"""SimArm: another process, the wall clock, commands applied once, ends with its parent."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from robot_drivers.cameras import CameraSource
from robot_drivers.config import SimArmConfig
from robot_drivers.robot_world import Device, Scene
from tests.robot_drivers.fake_plant import HOME, BrokenFactory, PointFactory, commands
from vla.errors import ConfigError, RobotError, UnknownChoice


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "commands.jsonl")


@pytest.fixture
def arm(journal):
    arm = SimArmConfig(start_timeout=30).build(PointFactory(journal))
    yield arm
    arm.close()


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_reads_moves_once_and_holds(arm, journal):
    assert isinstance(arm, Device)
    assert isinstance(arm, CameraSource)
    assert isinstance(arm, Scene)
    with pytest.raises(RobotError, match="arrange"):
        arm.connect()
    assert arm.arrange(seed=3) == "go right"
    arm.connect()
    state, when = arm.read()
    np.testing.assert_allclose(state, [*HOME, 0.5, 1.0], rtol=1e-6)
    assert 0 <= time.monotonic() - when < 1.0
    frames = arm.latest()
    assert sorted(frames) == ["front", "wrist"]
    assert frames["front"][0].shape == (8, 8, 3)
    sent = arm.write(np.array([0.02, 0, 0, 0.5], np.float32))
    wait_for(lambda: arm.read()[0][0] > HOME[0] + 0.019)
    time.sleep(0.2)
    assert arm.read()[0][0] == pytest.approx(HOME[0] + 0.02, abs=1e-5)  # applied once, then held
    np.testing.assert_allclose(commands(journal), [sent])
    arm.halt()
    wait_for(lambda: len(commands(journal)) == 2)
    np.testing.assert_array_equal(commands(journal)[1], [0, 0, 0, 0.5])


def test_commands_that_come_too_fast_wait_their_turn(arm, journal):
    arm.arrange(seed=0)
    sent = [arm.write(np.array([0.001 * n, 0, 0, 1], np.float32)) for n in range(1, 9)]
    wait_for(lambda: len(commands(journal)) == 8)
    np.testing.assert_allclose(commands(journal), sent)
    assert arm.read()[0][0] <= HOME[0] + 0.037


def test_time_stands_still_until_the_first_command(arm):
    """But pictures stay fresh, and a new scene forgets the last one's commands."""
    arm.arrange(seed=0)
    time.sleep(0.4)
    picture, when = arm.latest()["front"]
    assert picture.max() == 0
    assert time.monotonic() - when < 0.4 - 0.02, "drawn before the wait"
    arm.write(np.array([0.02, 0, 0, 1], np.float32))
    wait_for(lambda: arm.latest()["front"][0].max() >= 3)
    arm.arrange(seed=1)
    time.sleep(0.2)
    assert arm.latest()["front"][0].max() == 0
    assert arm.read()[0][0] == pytest.approx(HOME[0])


def test_time_runs_with_the_clock(arm):
    arm.arrange(seed=0)
    arm.write(np.zeros(4, np.float32))
    begin = time.monotonic()
    wait_for(lambda: arm.latest()["front"][0].max() >= 10)
    assert time.monotonic() - begin == pytest.approx(1.0, abs=0.35)


def test_failures_reach_the_parent_in_words(journal):
    with pytest.raises(RobotError, match="no plant today"):
        SimArmConfig(start_timeout=30).build(BrokenFactory())
    with pytest.raises(RobotError, match="multiple of the arm's control rate"):
        SimArmConfig(start_timeout=30, step_hz=50).build(PointFactory(journal))
    arm = SimArmConfig(start_timeout=30).build(PointFactory(journal, fail_at=1))
    try:
        arm.arrange(seed=0)
        arm.write(np.zeros(4, np.float32))
        wait_for(lambda: not arm._process.is_alive())
        with pytest.raises(RobotError, match="told to fail"):
            arm.read()
    finally:
        arm.close()


def test_a_killed_process_is_an_error(arm):
    arm.arrange(seed=0)
    os.kill(arm._process.pid, signal.SIGKILL)
    arm._process.join(5)
    with pytest.raises(RobotError, match="exit code -9"):
        arm.read()
    with pytest.raises(RobotError):
        arm.write(np.zeros(4, np.float32))
    arm.halt()


def test_close_ends_the_process_and_is_idempotent(journal):
    arm = SimArmConfig(start_timeout=30).build(PointFactory(journal))
    arm.close()
    arm.close()
    assert arm._process.exitcode == 0
    assert os.path.exists(journal + ".closed")


def test_a_killed_parent_takes_the_plant_along(journal):
    code = (
        "import sys, time; from robot_drivers.sim_arm import SimArm\n"
        "from tests.robot_drivers.fake_plant import PointFactory\n"
        "if __name__ == '__main__':\n"
        "    arm = SimArm(PointFactory(sys.argv[1])); arm.arrange(seed=0)\n"
        "    print(arm._process.pid, flush=True); time.sleep(60)\n"
    )
    script = journal + ".py"
    with open(script, "w") as file:
        file.write(code)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen(
        [sys.executable, script, journal],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the resource tracker says that it tidied up
        env=environment,
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: os.path.exists(journal + ".closed"))
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid))


def _is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_config():
    with pytest.raises(UnknownChoice, match="sim_arm"):
        SimArmConfig(kind="simarm")
    with pytest.raises(ConfigError, match="step_hz"):
        SimArmConfig(step_hz=0)
