"""What `vla doctor` finds out about ports, cameras, an arm, and a checkpoint for it."""

import fcntl
import grp
import os
import socket
from pathlib import Path
from typing import Any

from configs.findings import Finding
from configs.restoring import load_policy
from envs.config import WorldConfig
from robot_drivers.config import RobotConfig, SimArmConfig
from vla.embodiment import Embodiment
from vla.errors import EmbodimentMismatch, VlaError

CONTROLLERS = {"ur": 30004, "xarm": 502}
"""TCP port that answers on an arm's own controller, by kind."""
PATIENCE = 2.0


def check_ports(devices: Path = Path("/dev")) -> list[Finding]:
    """Serial ports, cameras and stop buttons, and whether this user may open them."""
    kinds = {
        "serial ports": ("ttyACM*", "ttyUSB*"),
        "cameras": ("video*",),
        "stop buttons": ("input/by-id/*-event-kbd",),
    }
    findings = []
    for subject, patterns in kinds.items():
        paths = sorted(path for pattern in patterns for path in devices.glob(pattern))
        closed = [path for path in paths if not os.access(path, os.R_OK)]
        if subject == "serial ports":
            closed = [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]
        found = ", ".join(_describe(path) for path in paths) or "none"
        findings.append(Finding(subject, found, _permit(closed)))
    return findings


def check_latency(root: Path = Path("/sys/bus/usb-serial/devices")) -> list[Finding]:
    """FTDI adapters that keep an answer back for milliseconds; nothing without one."""
    timers = {file.parent.name: int(file.read_text()) for file in root.glob("*/latency_timer")}
    slow = {name: milliseconds for name, milliseconds in timers.items() if milliseconds > 1}
    if not slow:
        return []
    told = ", ".join(f"{name} waits {milliseconds} ms" for name, milliseconds in slow.items())
    remedy = f"echo 1 | sudo tee {root}/{next(iter(slow))}/latency_timer"
    return [Finding("serial latency", f"{told} per answer", remedy)]


def check_robot(config: RobotConfig) -> tuple[list[Finding], Embodiment | None]:
    """The arm that `robot=...` names, without moving or connecting it; its body if it has one."""
    findings = []
    if isinstance(port := getattr(config, "port", ""), str) and port:
        findings.append(check_port(Path(port)))
    if (host := getattr(config, "host", "")) and config.kind in CONTROLLERS:
        findings.append(check_controller(host, CONTROLLERS[config.kind]))
    try:
        arm = config.build(None)
    except VlaError as error:
        broken = Finding(f"robot {config.kind}", "cannot be made", str(error), vital=True)
        return [*findings, broken], None
    body = arm.embodiment
    axes = ", ".join(axis.name for axis in body.action)
    findings.append(Finding(f"robot {config.kind}", f"{body.hz:g} Hz, commands: {axes}"))
    limits = config.gate
    told = f"joints {limits.joint_speed:.2f} rad/s, tool {limits.linear_speed:.2f} m/s"
    boxed = bool(limits.workspace_low)
    remedy = "" if boxed else "measure a box: robot.gate.workspace_low, workspace_high (and model)"
    findings.append(Finding("gate", f"{told}, {'a' if boxed else 'no'} workspace box", remedy))
    findings += check_cameras(getattr(config, "cameras", {}))
    return findings, body


def check_port(path: Path) -> Finding:
    """The serial port of the arm: there, allowed, and nobody else's."""
    subject = f"port {path}"
    if not path.exists():
        others = sorted(str(p) for kind in ("ttyACM*", "ttyUSB*") for p in Path("/dev").glob(kind))
        there = f"there: {', '.join(others)}" if others else "no serial port is there at all"
        remedy = f"plug the arm in ({there}); lerobot-find-port tells which it is"
        return Finding(subject, "is not there", remedy, vital=True)
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(subject, "no permission", _permit([path]), vital=True)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding(subject, "another program drives it", f"end it: fuser -v {path}", vital=True)
    finally:
        os.close(descriptor)
    return Finding(subject, "may be opened")


def check_controller(host: str, port: int) -> Finding:
    """Whether an arm's controller answers."""
    subject = f"controller {host}"
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        remedy = "check power, cable and address; the arm's pendant shows it"
        return Finding(subject, f"port {port}: {error.strerror or error}", remedy, vital=True)
    return Finding(subject, f"answers at port {port}")


def check_cameras(configs: dict[str, Any]) -> list[Finding]:
    """One picture from every camera of the arm."""
    if not configs:
        return []
    from robot_drivers.lerobot_cameras import LerobotCameras

    findings = []
    for name, config in configs.items():
        size = f"{config.height}x{config.width} at {config.fps} Hz"
        try:
            LerobotCameras({name: config}).close()  # opening waits for a picture
        except VlaError as error:
            findings.append(Finding(f"camera {name}", "gives no picture", str(error), vital=True))
        else:
            findings.append(Finding(f"camera {name}", f"{config.type}, {size}"))
    return findings


def check_contract(checkpoint: str, robot: RobotConfig, world: WorldConfig) -> list[Finding]:
    """Whether the checkpoint speaks to the arm, or to the world of the simulated one."""
    findings: list[Finding] = []
    if isinstance(robot, SimArmConfig):
        body: Embodiment | None = world.embodiment()
    else:
        findings, body = check_robot(robot)
    if body is None or not checkpoint:
        return findings
    try:
        policy, weights = load_policy(checkpoint, device="cpu", embodiment=body)
        policy.embodiment.require(body, mine="checkpoint", theirs=robot.kind)
    except EmbodimentMismatch as error:
        remedy = f"train on data of this arm, or choose its robot, cameras and tool. {error}"
        return [*findings, Finding("contract", f"not for {body.name}", remedy, vital=True)]
    except VlaError as error:
        return [*findings, Finding("checkpoint", "cannot be loaded", str(error), vital=True)]
    told = f"fits {body.name} ({body.hash[:12]}), weights {weights[:12]}"
    return [*findings, Finding("contract", told)]


def _permit(paths: list[Path]) -> str:
    """How this user gets at `paths`; empty without any."""
    if not paths:
        return ""
    group = grp.getgrgid(paths[0].stat().st_gid).gr_name
    names = ", ".join(path.name for path in paths)
    user = os.environ.get("USER", "USER")
    if user in grp.getgrnam(group).gr_mem:
        return f"no permission for {names}: {user} joined group {group}; log in anew"
    return f"no permission for {names}: sudo usermod -aG {group} {user}, then log in anew"


def _describe(path: Path) -> str:
    """A device's file name, with the name that a camera gives itself."""
    label = Path("/sys/class/video4linux") / path.name / "name"
    return f"{path.name} ({label.read_text().strip()})" if label.exists() else path.name
