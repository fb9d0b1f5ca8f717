"""`vla doctor`: what it finds on machines that lack something, and what it tells to do."""

import fcntl
import os
import socket
from dataclasses import replace

import pytest

from configs import findings, findings_devices
from configs.findings import Finding, check_accelerator, check_governor, check_shared_memory
from configs.findings_devices import (
    check_contract,
    check_controller,
    check_latency,
    check_port,
    check_ports,
    check_robot,
)
from configs.jobs import DoctorJob
from configs.launch import build_job, compose, register_schemas
from configs.verbs import doctor
from envs.config import TabletopConfig
from robot_drivers.config import RobotConfig, SimArmConfig
from robot_drivers.config_arms import XArmConfig
from vla.errors import CheckpointError

WORLD = TabletopConfig(image_size=32)


def test_the_words_of_a_robot_are_taken():
    register_schemas()
    job = build_job(compose("doctor", ["robot=so101", "robot.port=/dev/ttyACM3"]))
    assert isinstance(job, DoctorJob)
    assert (job.robot.kind, job.robot.port) == ("so101", "/dev/ttyACM3")


def test_a_closed_port_names_the_group_to_join(tmp_path, monkeypatch):
    for name in ("ttyACM0", "ttyUSB1", "video0"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda path, mode: "ttyACM" not in str(path))
    monkeypatch.setenv("USER", "ann")
    ports, cameras, buttons = check_ports(tmp_path)
    assert ports.found == "ttyACM0, ttyUSB1"
    group = "root" if os.getgid() == 0 else ""
    assert ports.remedy.startswith("no permission for ttyACM0: sudo usermod -aG ")
    assert group in ports.remedy
    assert "ann" in ports.remedy
    assert (cameras.found, cameras.remedy, buttons.found) == ("video0", "", "none")
    closed = check_port(tmp_path / "ttyACM0")
    assert closed.vital
    assert "usermod" in closed.remedy


def test_a_port_that_is_missing_or_in_use(tmp_path):
    missing = check_port(tmp_path / "ttyACM0")
    assert missing.vital
    assert "lerobot-find-port" in missing.remedy
    port = tmp_path / "ttyACM1"
    port.touch()
    assert not check_port(port).remedy
    with port.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert check_port(port).found == "another program drives it"


def test_a_slow_adapter_is_told_how_to_be_quick(tmp_path):
    assert check_latency(tmp_path) == []
    (tmp_path / "ttyUSB0").mkdir()
    (tmp_path / "ttyUSB0/latency_timer").write_text("16\n")
    (found,) = check_latency(tmp_path)
    assert found.remedy == f"echo 1 | sudo tee {tmp_path}/ttyUSB0/latency_timer"


def test_a_controller_that_answers_or_does_not():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert not check_controller("127.0.0.1", port).remedy
    silent = check_controller("127.0.0.1", port)
    assert silent.vital
    assert "cable" in silent.remedy


def test_an_arm_is_looked_at_without_moving_it(monkeypatch):
    monkeypatch.setattr(findings_devices, "check_controller", lambda *_: Finding("controller", ""))
    listing, body = check_robot(XArmConfig(host="127.0.0.1"))
    assert [finding.subject for finding in listing] == ["controller", "robot xarm", "gate"]
    assert body is not None
    assert "workspace" in listing[-1].remedy
    broken, body = check_robot(RobotConfig())
    assert body is None
    assert broken[-1].vital


def test_a_checkpoint_that_fits_differs_or_is_broken(monkeypatch):
    body = WORLD.embodiment()

    class Policy:
        embodiment = body

    monkeypatch.setattr(findings_devices, "load_policy", lambda *_, **__: (Policy(), "ab" * 32))
    (fits,) = check_contract("runs/x", SimArmConfig(), WORLD)
    assert not fits.remedy
    Policy.embodiment = replace(body, hz=5.0)
    (differs,) = check_contract("runs/x", SimArmConfig(), WORLD)
    assert differs.vital
    assert "hz" in differs.remedy

    def fail(*_, **__):
        raise CheckpointError("runs/x holds no checkpoint.")

    monkeypatch.setattr(findings_devices, "load_policy", fail)
    (broken,) = check_contract("runs/x", SimArmConfig(), WORLD)
    assert (broken.found, broken.remedy) == ("cannot be loaded", "runs/x holds no checkpoint.")
    assert check_contract("", SimArmConfig(), WORLD) == []


def test_machines_that_lack_something(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "SHARED", 1e18)
    assert "--shm-size" in check_shared_memory(str(tmp_path)).remedy
    assert "tmpfs" in check_shared_memory(str(tmp_path / "none")).remedy
    (tmp_path / "cpu0/cpufreq").mkdir(parents=True)
    (tmp_path / "cpu0/cpufreq/scaling_governor").write_text("powersave\n")
    assert "performance" in check_governor(tmp_path).remedy
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not check_accelerator(tmp_path / "none").remedy
    assert "torch" in check_accelerator(tmp_path).remedy


@pytest.mark.parametrize("vital", [False, True])
def test_the_table_ends_with_a_verdict(monkeypatch, capsys, vital):
    found = [Finding("arm", "bad", "give robot.limits.x=[low, high]", vital=vital)]
    monkeypatch.setattr(doctor, "check_machine", lambda: found)
    job = DoctorJob(robot=SimArmConfig(), world=WORLD)
    if vital:
        with pytest.raises(SystemExit, match="1"):
            doctor.main(job)
    else:
        doctor.main(job)
    said = " ".join(capsys.readouterr().out.split())
    assert ("Broken: arm." if vital else "1 could be better") in said
    assert "[low," in said  # brackets are no markup
